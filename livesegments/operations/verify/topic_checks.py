"""Checks of the published topics against each other, the store and the inputs."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from math import inf

from kafka.consumer.fetcher import ConsumerRecord

from livesegments.contracts.cloudevents import read_provenance
from livesegments.contracts.dead_letters import parse
from livesegments.contracts.segments import SegmentChange, SegmentState, read
from livesegments.contracts.topics import ERASURES, PROFILES, PURCHASES
from livesegments.operations.verify.clocks import TOLERANCE_US
from livesegments.operations.verify.partition import Partition
from livesegments.operations.verify.reference import Erasure, Purchase
from livesegments.operations.verify.report import Check
from livesegments.operations.verify.store_reader import Cut

OF_SETTINGS = {"bad_currency", "consent_missing", "wrong_partition"}
"""Reasons that depend on a setting, which may be another after a rebuild."""
_FOREIGN = "is of another producer and none of the contract"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Told:
    """A customer's last change, and bounds on the time at which their segment began."""

    change: SegmentChange
    earliest_us: int
    latest_us: float

    @classmethod
    def after(
        cls,
        before: "Told | None",
        change: SegmentChange,
        shortened: bool,
        now_us: float,
        arrived_us: int,
    ) -> "Told":
        """Return the bounds after one more change.

        A segment began at the event time that caused it, or earlier; for a late event, at the
        latest when it arrived (``arrived_us``). A profile or an erasure may be
        dated ahead of the partition's clock, which is not published. A customer who had lost all
        data starts from scratch. A time after ``now_us``, the latest possible time, is ignored: a
        clock was wrong. One after the clock of the change is from before a rebuild with other
        settings, under which fewer purchases move the clock.
        """
        at_us = _micros(change.occurred_at)
        earliest, latest = (0, inf if shortened else 0)
        if before is not None:
            earliest, latest = before.earliest_us, before.latest_us
            if before.change.segment is None or earliest > now_us:
                earliest = 0
        is_exact = at_us <= now_us and (change.cause is None or change.cause.topic == PURCHASES)
        clock_us = at_us if change.cause is None else arrived_us
        if earliest > clock_us:
            earliest = 0
        ended = arrived_us if at_us < arrived_us - TOLERANCE_US else at_us
        return cls(change, max(earliest, at_us) if is_exact else earliest, max(latest, ended))


def version_of(record: ConsumerRecord) -> int:
    """Return the version that published a record, 0 for a record of another producer."""
    provenance = read_provenance(record.headers)
    return provenance[1] if provenance else 0


def check_chain(
    check: Check, at: Partition, records: Sequence[ConsumerRecord], shortened: bool
) -> tuple[list[SegmentChange], dict[str, Told]]:
    """Check the chain of changes of every customer; a truncated log's first change is trusted.

    Returns all changes, and each customer's last one within the compared versions.
    """
    last: dict[str, Told] = {}
    compared: dict[str, Told] = {}
    changes: list[SegmentChange] = []
    for record in records:
        change = read(SegmentChange, record)
        if change is None:
            check.that(False, f"{at.where}, change at offset {record.offset}: {_FOREIGN}")
            continue
        changes.append(change)
        name = change.customer_id
        where = f"{at.where}, customer {name}, offset {record.offset}"
        check.that(record.key == name.encode(), f"{where}: the key is not the customer")
        told = last.get(name)
        before = told.change if told else None
        said = change.previous_segment.id if change.previous_segment else None
        was = before.segment.id if before and before.segment else None
        was = said if before is None and shortened else was
        now = change.segment.id if change.segment else None
        check.that(said == was, f"{where}: previous segment {said}, but it was {was}")
        check.that(now != was, f"{where}: from {was} to {now} is no change")
        kind = "assigned" if was is None else "unassigned" if now is None else "reassigned"
        check.that(change.change == kind, f"{where}: says {change.change} and is {kind}")
        if before:
            check.that(
                change.version > before.version,
                f"{where}: version {change.version} after {before.version}",
            )
        last[name] = Told.after(told, change, shortened, at.latest_us, _arrival_us(at, change))
        if version_of(record) <= at.bound(name):
            compared[name] = last[name]
    return changes, compared


def _arrival_us(at: Partition, change: SegmentChange) -> int:
    """Return the latest possible clock of the partition when a change was decided."""
    if at.deployed.event_clock and change.cause and change.cause.topic == PURCHASES:
        return at.inputs.clock_us(change.cause.offset + 1)
    # No clock is further ahead of the worker's.
    return _micros(change.decided_at) + 2 * TOLERANCE_US


def check_causes(check: Check, at: Partition, changes: Sequence[SegmentChange]) -> None:
    """Check that the event named as the cause of a change is the customer's, and counted.

    Causes from before a rebuild are skipped, since the settings may have been different.
    """
    erased: dict[str, int] = {}
    for change in changes:
        cause, name = change.cause, change.customer_id
        if cause is None:
            continue
        if cause.topic not in at.inputs.read or not (
            at.starts[cause.topic] <= cause.offset < at.inputs.read[cause.topic]
        ):
            continue  # no longer in the log
        if cause.offset < at.records.last.replayed[cause.topic]:
            continue
        where = f"{at.where}, customer {name}, version {change.version}: the cause, {cause.topic}"
        where += f" offset {cause.offset},"
        event = at.inputs.event(name, cause.topic, cause.offset)
        if event is None:
            compacted = cause.topic not in (PURCHASES, ERASURES)
            check.that(compacted, f"{where} is no event of theirs that counts")
            continue
        if isinstance(event, Erasure):
            cutoff = (event.at // at.deployed.tile_us + 1) * at.deployed.tile_us
            erased[name] = max(erased.get(name, 0), 0 if event.action == 2 else cutoff)
        if isinstance(event, Purchase):
            check.that(cause.event_id == event.event_id, f"{where} has another id")
            tile_us, tiles = at.deployed.tile_us, at.deployed.shape.tiles
            newest = at.inputs.clock_us(event.offset + 1)
            inside = event.at // tile_us > newest // tile_us - tiles
            check.that(inside, f"{where} was older than the window")
            check.that(event.at >= erased.get(name, 0), f"{where} was erased before")


def last_states(
    at: Partition, records: Sequence[ConsumerRecord]
) -> tuple[dict[str, ConsumerRecord], set[str]]:
    """Return each customer's last state within the compared versions.

    The second item is the customers whose state may be compacted away, because a later one exists.
    """
    states: dict[str, ConsumerRecord] = {}
    later: set[str] = set()
    for record in records:
        name = record.key.decode(errors="replace")  # another producer's may be any bytes
        if version_of(record) <= at.bound(name):
            states[name] = record
        else:
            later.add(name)
    return states, later - set(states)


def check_state(
    check: Check,
    since: Check,
    at: Partition,
    last: Mapping[str, Told],
    states: Mapping[str, ConsumerRecord],
    unknown: set[str],
    shortened: bool,
) -> None:
    """Check that the compacted topic and the store match the last change."""
    left_out = 0
    for name in sorted(set(last) | set(states) | set(at.records.found)):
        told, stated = last.get(name), states.get(name)
        state = read(SegmentState, stated) if stated and stated.value else None
        change = told.change if told else None
        moved = change.segment.id if change and change.segment else None
        kept = state.segment.id if state and state.segment else None
        moved = kept if change is None and shortened else moved
        where = f"{at.where}, customer {name}"
        is_foreign = stated is not None and stated.value and state is None
        check.that(not is_foreign, f"{where}: the state {_FOREIGN}")
        if name in unknown:
            left_out += 1
            continue
        check.that(moved == kept, f"{where}: last changed to {moved}, but the state is {kept}")
        if not at.compares(name):
            left_out += 1
            continue
        record = at.records.get(name)
        check.that(state is None or record is not None, f"{where}: has a state and no record")
        segments = at.deployed.segments
        held = segments[record.segment] if record and record.segment >= 0 else None
        check.that(moved == held, f"{where}: last changed to {moved}, but the store has {held}")
        if told and record and record.segment >= 0:
            check.that(
                record.version == told.change.version,
                f"{where}: changed in version {told.change.version}, the store says"
                f" {record.version}",
            )
            since.that(
                told.earliest_us <= record.since_us <= told.latest_us,
                f"{where}: since {_time(record.since_us)}, but their changes say"
                f" {_time(told.earliest_us)} to {_time(told.latest_us)}",
            )
        if state and record:
            said = -1 if state.consent.marketing is None else int(state.consent.marketing)
            check.that(
                said == record.marketing,
                f"{where}: consent to marketing is {record.marketing}, but the state says {said}",
            )
            since.that(
                _micros(state.since) == record.since_us,
                f"{where}: since {_time(record.since_us)}, but the state says {state.since}",
            )
        # A store that was rebuilt with other features has no model at first.
        if record and record.cluster < 0 and at.records.last.generation:
            check.that(held is None, f"{where}: has a segment and is in no cluster")
    if left_out:
        check.leave_out(at.where, f"{left_out} customers with more changes being published")


def check_ids(check: Check, at: Partition, records: Sequence[ConsumerRecord]) -> None:
    """Check that no event id is published twice."""
    seen = Counter(dict(record.headers).get("ce_id") or b"" for record in records)
    for event_id, times in seen.items():
        text = event_id.decode(errors="replace")
        check.that(times == 1 and event_id != b"", f"{at.where}: ce_id {text!r} {times} times")


def check_dead_letters(
    check: Check, at: Partition, records: Sequence[ConsumerRecord], after: Cut, shortened: bool
) -> None:
    """Check that every rejected record is in the dead letters once, with its bytes.

    ``after`` is the store's checkpoint after the dead letters were read.
    """

    def of_then(topic: str, offset: int, *reasons: str) -> bool:
        """Return whether a setting may have been different when the record was processed."""
        return offset < after.replayed[topic] and not OF_SETTINGS.isdisjoint(reasons)

    letters: Counter[tuple[str, int]] = Counter()
    for record in records:
        try:
            letter = parse(record.headers)
        except ValueError:
            continue  # a record of another producer
        if letter.source is not None:
            continue  # of a record that never was on an input
        source = (letter.topic, letter.offset)
        letters[source] += 1
        where = f"{at.where}, dead letter of {letter.topic} offset {letter.offset}"
        check.that(read_provenance(record.headers) is not None, f"{where}: has no version")
        compacted = letter.topic == PROFILES and letter.offset not in at.inputs.profile_offsets
        if letter.offset < at.starts[letter.topic] or compacted:
            continue
        expected = at.inputs.rejected.get(source)
        if letter.offset >= after.offsets[letter.topic]:
            expected = None  # not processed yet
        valid_now = of_then(*source, letter.reason)
        check.that(expected is not None or valid_now, f"{where}: that record is valid")
        if expected:
            key, value, headers, reason = expected
            nothing = key is None and value is None and record.value == b""
            same = record.key == key and (record.value == value or nothing)
            check.that(same, f"{where}: its bytes are not the record's")
            # A null header is an empty one there.
            given = [(name, each or b"") for name, each in headers]
            check.that(
                letter.original_headers == given, f"{where}: its headers are not the record's"
            )
            other = letter.reason != reason and not of_then(*source, letter.reason, reason)
            check.that(not other, f"{where}: {letter.reason}, should be {reason}")
    for source, expected in at.inputs.rejected.items():
        may_lack = (
            shortened or of_then(*source, expected.reason) or source[1] >= at.decided(source[0])
        )
        check.that(
            letters[source] == 1 or (may_lack and not letters[source]),
            f"{at.where}: {source[0]} offset {source[1]} is dead-lettered {letters[source]} times",
        )


def _micros(time: datetime) -> int:
    return (time - _EPOCH) // timedelta(microseconds=1)


def _time(micros: float) -> str:
    return "ever" if micros == inf else str(_EPOCH + timedelta(microseconds=micros))
