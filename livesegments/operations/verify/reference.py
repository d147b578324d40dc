"""Expected records of a partition, recomputed event by event from the input log.

A record is determined by the inputs below its offsets. So events are kept by customer, and each
customer is aggregated up to the offsets at which their record was read.
"""

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from itertools import compress
from typing import Any, NamedTuple, TypeAlias, TypeVar

import numpy as np
from kafka.consumer.fetcher import ConsumerRecord
from numpy.typing import NDArray

from livesegments.contracts.dead_letters import Headers, fitting
from livesegments.contracts.decode import decode_erasures, decode_profiles, decode_purchases
from livesegments.contracts.topics import ERASURES, INPUTS, PROFILES, PURCHASES

DAY_US = 86_400_000_000
_LOCATION = {0.0: "rural", 0.5: "suburban", 1.0: "urban"}

E = TypeVar("E", bound="Event")
Offsets: TypeAlias = Mapping[str, int]
"""Input topic -> next offset."""


class Purchase(NamedTuple):
    """A purchase that is not a duplicate; ``number`` is 1, or 0 for a refund."""

    offset: int
    at: int
    cents: int
    number: int
    event_id: str


class Content(NamedTuple):
    """Id and content of a purchase; a later one with the same values is a duplicate."""

    event_id: str
    customer: str
    at: int
    cents: int
    number: int


class Profile(NamedTuple):
    """A profile, -1 for an unknown answer."""

    offset: int
    at: int
    known: tuple[float | None, float | None, str | None]
    marketing: int
    profiling: int


class Erasure(NamedTuple):
    """A request to erase (0), suppress (1) or restore (2)."""

    offset: int
    at: int
    action: int


class Rejected(NamedTuple):
    """A record that failed validation, as its dead letter has it."""

    key: bytes | None
    value: bytes | None
    headers: Headers
    reason: str


Event: TypeAlias = Purchase | Profile | Erasure


@dataclass(slots=True)
class Expected:
    """Expected state of one customer: every purchase by tile, and the effective profile.

    ``profile_us`` is the time of a profile that no erasure covers. A covered profile keeps only
    its refusals.
    """

    tiles: dict[int, list[int]] = field(default_factory=lambda: defaultdict(lambda: [0, 0]))
    profile_us: int | None = None
    profile: tuple[float | None, float | None, str | None] = (None, None, None)
    marketing: int = -1
    profiling: int = -1


@dataclass(slots=True)
class History:
    """All events of one customer, in log order."""

    purchases: list[Purchase] = field(default_factory=list)
    profiles: list[Profile] = field(default_factory=list)
    erasures: list[Erasure] = field(default_factory=list)

    def of(self, topic: str) -> "Sequence[Event]":
        """Return the events of a topic; empty for a topic that is not an input."""
        events: dict[str, Sequence[Event]] = {
            PURCHASES: self.purchases,
            PROFILES: self.profiles,
            ERASURES: self.erasures,
        }
        return events.get(topic, ())

    def has_events_between(self, start: Offsets, end: Offsets) -> bool:
        """Return whether any event lies in a range of offsets, the end exclusive."""
        for topic in INPUTS:
            events = self.of(topic)
            place = bisect_left(events, (start[topic],))
            if place < len(events) and events[place].offset < end[topic]:
                return True
        return False


class Inputs:
    """Input log of one partition, as far as it has been read.

    Attributes
    ----------
    customers
        Customer id -> their events.
    rejected
        (topic, offset) -> key, value, headers and reason of each record that failed validation, as
        expected in its dead letter.
    profile_offsets
        Offsets of profiles, tombstones and rejected records: compaction leaves gaps.
    misplaced
        (customer id, request) of each erasure that belongs to another partition.
    read
        Topic -> offset up to which it has been read.
    """

    def __init__(
        self,
        *,
        currency: str,
        tile_us: int,
        dedup_events: int,
        consent_required: bool = False,
        belongs: Callable[[bytes], bool] = lambda _: True,
    ) -> None:
        self._currency, self._tile_us, self._dedup_events = currency, tile_us, dedup_events
        self._consent_required = consent_required
        self._belongs = belongs
        self.misplaced: list[tuple[str, Erasure]] = []
        self.customers: dict[str, History] = defaultdict(History)
        self.rejected: dict[tuple[str, int], Rejected] = {}
        self.profile_offsets: set[int] = set()
        self.read: dict[str, int] = dict.fromkeys(INPUTS, 0)
        self._refused_profiles: set[str] = set()
        self._last_seen: dict[Content, int] = {}
        self._contents: list[Content] = []
        self._id_offsets: list[int] = []
        self._clock_offsets: list[int] = []
        self._clocks: list[int] = []

    def add(self, topic: str, records: Sequence[ConsumerRecord], end: int) -> set[str]:
        """Add the next records of a topic, up to an offset; return the customers in them."""
        columns = (
            [r.key for r in records],
            [r.value for r in records],
            [r.timestamp for r in records],
        )
        decoded: Any
        take: Callable[[Any, list[int]], None]
        if topic == PURCHASES:
            decoded, bad = decode_purchases(*columns, currency=self._currency)
            take = self._purchases
        elif topic == PROFILES:
            decoded, bad = decode_profiles(*columns, consent_required=self._consent_required)
            take = self._profiles
            self.profile_offsets.update(record.offset for record in records)
            keys = (records[rejection.row].key or b"" for rejection in bad)
            self._refused_profiles.update(key.decode(errors="replace") for key in keys)
        else:
            (decoded, bad), take = decode_erasures(*columns), self._erasures
        for rejection in bad:
            self._reject(topic, records[rejection.row], rejection.reason.value)
        elsewhere = [not self._belongs(records[row].key) for row in decoded.row.tolist()]
        if any(elsewhere):
            misplaced = _rows(decoded, np.array(elsewhere))
            decoded = _rows(decoded, ~np.array(elsewhere))
            for row in misplaced.row.tolist():
                self._reject(topic, records[row], "wrong_partition")
            if topic == ERASURES:
                offsets = [records[row].offset for row in misplaced.row.tolist()]
                self.misplaced += _requests(misplaced, offsets)
        self.read[topic] = max(self.read[topic], end)
        take(decoded, [records[row].offset for row in decoded.row.tolist()])
        return set(decoded.customer_id)

    def _reject(self, topic: str, record: ConsumerRecord, reason: str) -> None:
        key, value, headers = fitting(record.key, record.value, record.headers)
        self.rejected[topic, record.offset] = Rejected(key, value, headers, reason)

    def _purchases(self, bought: Any, offsets: list[int]) -> None:
        columns = (bought.occurred_at, bought.cents, bought.count)
        rows = zip(*(column.tolist() for column in columns), strict=True)
        for offset, event_id, name, (at, cents, count) in zip(
            offsets, bought.event_id, bought.customer_id, rows, strict=True
        ):
            place = len(self._contents)
            content = Content(event_id, name, at, cents, count)
            before, self._last_seen[content] = self._last_seen.get(content), place
            self._contents.append(content)
            self._id_offsets.append(offset)
            if before is not None and place - before <= self._dedup_events:
                continue
            self._clock_offsets.append(offset)
            self._clocks.append(max(at, self._clocks[-1] if self._clocks else 0))
            self.customers[name].purchases.append(Purchase(offset, at, cents, count, event_id))

    def _profiles(self, known: Any, offsets: list[int]) -> None:
        columns = (known.updated_at, known.age, known.income, known.urbanicity)
        answers = (known.marketing, known.profiling)
        rows = zip(*(column.tolist() for column in (*columns, *answers)), strict=True)
        for offset, name, (at, age, income, urban, marketing, profiling) in zip(
            offsets, known.customer_id, rows, strict=True
        ):
            said = (_known(age), _known(income), _LOCATION.get(urban))
            profile = Profile(offset, at, said, int(marketing), int(profiling))
            self.customers[name].profiles.append(profile)

    def _erasures(self, requests: Any, offsets: list[int]) -> None:
        for name, request in _requests(requests, offsets):
            self.customers[name].erasures.append(request)

    def event(self, name: str, topic: str, offset: int) -> Event | None:
        """Return a customer's event at an offset; None if no event of theirs there counts."""
        history = self.customers.get(name)
        events = history.of(topic) if history else ()
        place = bisect_left(events, (offset,))
        found = events[place] if place < len(events) else None
        return found if found and found.offset == offset else None

    def clock_us(self, purchases: int) -> int:
        """Return the time of the newest accepted purchase below an offset, 0 for none."""
        place = bisect_left(self._clock_offsets, purchases)
        return self._clocks[place - 1] if place else 0

    def contents(self, purchases: int, most: int) -> list[Content]:
        """Return the last valid purchases below an offset, including duplicates."""
        place = bisect_left(self._id_offsets, purchases)
        return self._contents[max(0, place - most) : place]

    def cutoff(self, name: str, offsets: Offsets) -> tuple[int, bool]:
        """Return a customer's first microsecond that counts, and whether they are suppressed."""
        cutoff = suppressed_at = restored_at = 0
        history = self.customers.get(name)
        for _, at, action in _below(history.erasures, offsets[ERASURES]) if history else ():
            # A restore that does not end a suppression has no effect.
            if action != 2 or (suppressed_at > restored_at and at >= suppressed_at):
                cutoff = max(cutoff, (at // self._tile_us + 1) * self._tile_us)
            if action == 1:
                suppressed_at = max(suppressed_at, at)
                if at == restored_at:
                    restored_at -= 1
            if action == 2:
                restored_at = max(restored_at, at)
        return cutoff, suppressed_at > restored_at

    def expected(self, name: str, offsets: Offsets) -> Expected | None:
        """Aggregate a customer's events below some offsets; None if nothing counts."""
        history = self.customers.get(name)
        if history is None:
            return None
        cutoff, _ = self.cutoff(name, offsets)
        customer, known = Expected(), False
        for purchase in _below(history.purchases, offsets[PURCHASES]):
            if purchase.at >= cutoff:
                known = True
                tile = customer.tiles[purchase.at // self._tile_us]
                tile[0] += purchase.number
                tile[1] += purchase.cents
        for last in _below(history.profiles, offsets[PROFILES])[-1:]:
            said, consents = last.known, (last.marketing, last.profiling)
            if last.at < cutoff:
                said = (None, None, None)
                consents = (0 if last.marketing == 0 else -1, 0 if last.profiling == 0 else -1)
            if (*said, *consents) != (None, None, None, -1, -1):
                known = True
                customer.profile_us = last.at if last.at >= cutoff else None
                customer.profile, (customer.marketing, customer.profiling) = said, consents
        return customer if known else None

    def profile_is_compacted(self, name: str, offsets: Offsets) -> bool:
        """Return whether the log may lack a customer's profile below an offset.

        Compaction keeps the last record of a key, which may be at a higher offset or invalid.
        """
        history = self.customers.get(name)
        profiles = history.profiles if history else []
        if profiles and profiles[0].offset < offsets[PROFILES]:
            return False
        return bool(profiles) or name in self._refused_profiles


def _requests(requests: Any, offsets: list[int]) -> list[tuple[str, Erasure]]:
    """Return (customer id, request) of each row."""
    rows = zip(requests.requested_at.tolist(), requests.action.tolist(), strict=True)
    return [
        (name, Erasure(offset, at, int(action)))
        for offset, name, (at, action) in zip(offsets, requests.customer_id, rows, strict=True)
    ]


def _rows(columns: Any, kept: NDArray[np.bool_]) -> Any:
    """Return some rows of decoded columns."""
    parts: dict[str, Any] = {each.name: getattr(columns, each.name) for each in fields(columns)}
    for name, part in parts.items():
        parts[name] = list(compress(part, kept)) if isinstance(part, list) else part[kept]
    return replace(columns, **parts)


def _below(events: Sequence[E], offset: int) -> Sequence[E]:
    return events[: bisect_left(events, (offset,))]


def _known(value: float) -> float | None:
    return None if value != value else value
