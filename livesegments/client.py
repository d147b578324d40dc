"""Sample subscriber, written as a downstream system would write one.

It first reads the compacted topic, which holds every customer's current state, then follows the
changes. The two are joined without gaps or duplicates: it records the end offsets of the changes,
reads the states to their end, then follows the changes from the recorded offsets and skips those
that a state already covers, by version. It keeps following the states as well, for forgotten
customers and withdrawn consents, which produce no change. The two topics are polled in any order,
so it holds a tombstone back until the changes of its partition are read up to their end offset at
that time.
"""

from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from kafka import KafkaConsumer, TopicPartition
from kafka.consumer.fetcher import ConsumerRecord

from livesegments.consumers.columnar_reader import ColumnarConsumer
from livesegments.consumers.log_reader import LogReader, ends_of, starts_of
from livesegments.contracts.cloudevents import read_provenance
from livesegments.contracts.segments import SegmentChange, SegmentRef, SegmentState, read
from livesegments.contracts.topics import CHANGES, STATES
from livesegments.topic_prefix import open_consumer


@dataclass(frozen=True, slots=True)
class Update:
    """Update for one customer: a current state, a change, or that it was forgotten."""

    kind: Literal["state", "change", "forgotten"]
    customer_id: str
    payload: SegmentState | SegmentChange | None

    @property
    def segments(self) -> set[str]:
        """Ids of the segments in the update."""
        refs: list[SegmentRef | None] = []
        if isinstance(self.payload, SegmentChange):
            refs = [self.payload.previous_segment, self.payload.segment]
        elif isinstance(self.payload, SegmentState):
            refs = [self.payload.segment]
        return {ref.id for ref in refs if ref is not None}


@dataclass(slots=True)
class View:
    """Segment and version of every customer, maintained from states and changes.

    Updates are idempotent: a duplicate, or one older than the known version, has no effect.

    Attributes
    ----------
    customers
        Customer id -> (segment id or None, version).
    marketing
        Customer id -> marketing consent, None for unknown.
    forgotten
        Customer id -> version that removed the customer, while older changes may still arrive.
    ahead
        Customer id -> a state that was read before its change.
    leaving
        Customer id -> version of a tombstone, held until all preceding changes are read.
    """

    customers: dict[str, tuple[str | None, int]] = field(default_factory=dict)
    marketing: dict[str, bool | None] = field(default_factory=dict)
    forgotten: dict[str, int] = field(default_factory=dict)
    ahead: dict[str, SegmentState] = field(default_factory=dict)
    leaving: dict[str, int] = field(default_factory=dict)

    def state(
        self, customer_id: str, state: SegmentState | None, version: int | None
    ) -> Update | None:
        """Apply a record of the compacted topic and its version; return None if it is not new."""
        if version is None:  # written by another producer
            version = state.version if state else self._version(customer_id)
        if self._overtaken(customer_id, version):
            return None
        if state is None:
            for kept in (self.customers, self.marketing, self.ahead):
                kept.pop(customer_id, None)
            self.forgotten[customer_id] = version
            return Update("forgotten", customer_id, None)
        consents = self.marketing.get(customer_id) == state.consent.marketing
        if self._version(customer_id) == state.version and consents:
            return None
        self._keep(customer_id, state)
        return Update("state", customer_id, state)

    def followed_state(
        self, customer_id: str, state: SegmentState | None, version: int | None
    ) -> Update | None:
        """Apply a state while changes are followed; the changes report all segment moves.

        A tombstone is held in `leaving` until `changes_read` applies it.
        """
        if state is None:
            version = self._version(customer_id) if version is None else version
            if not self._overtaken(customer_id, version):
                self.leaving[customer_id] = max(version, self.leaving.get(customer_id, -1))
            return None
        if state.version <= self._version(customer_id):
            return self.state(customer_id, state, version)
        self.ahead[customer_id] = state
        return None

    def changes_read(self, customer_id: str, version: int | None = None) -> Update | None:
        """Apply a held tombstone once all changes before it, or before ``version``, are known.

        Returns None if none is held, or not all of those changes are known.
        """
        held = self.leaving.get(customer_id)
        if held is None or (version is not None and version <= held):
            return None
        del self.leaving[customer_id]
        ahead = self.ahead.get(customer_id)
        update = self.state(customer_id, None, held)
        if ahead is not None and ahead.version > held:
            self.ahead[customer_id] = ahead  # a returning customer, whose change is still to come
        return update

    def change(self, change: SegmentChange) -> Update | None:
        """Apply a change; return None if it is not new."""
        name = change.customer_id
        known = name in self.customers and change.version == self._version(name)
        if known or self._overtaken(name, change.version):
            return None
        ahead = self.ahead.get(name)
        if ahead is not None and ahead.version <= change.version:
            del self.ahead[name]
            if ahead.version == change.version:
                change = change.model_copy(update={"consent": ahead.consent})
        self._keep(name, change)
        return Update("change", name, change)

    def _version(self, customer_id: str) -> int:
        return self.customers.get(customer_id, (None, -1))[1]

    def _overtaken(self, customer_id: str, version: int) -> bool:
        return version < self._version(customer_id) or version <= self.forgotten.get(
            customer_id, -1
        )

    def _keep(self, customer_id: str, payload: SegmentState | SegmentChange) -> None:
        self.forgotten.pop(customer_id, None)
        self.customers[customer_id] = (
            payload.segment.id if payload.segment else None,
            payload.version,
        )
        self.marketing[customer_id] = payload.consent.marketing


def subscribe(
    config: Mapping[str, Any], *, from_start: bool = False, changes_only: bool = False
) -> Generator[Update | None, None, None]:
    """Yield every current state, then each change as it arrives, and None after an idle poll.

    ``from_start`` starts with all changes retained in the topic, instead of the states; with
    ``changes_only`` the states are read, to detect duplicates, but not yielded.
    """
    view = View()
    consumer = open_consumer(
        ColumnarConsumer,
        **config,
        isolation_level="read_committed",
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        fetch_max_wait_ms=100,
    )
    try:
        changes, states = _partitions(consumer, CHANGES), _partitions(consumer, STATES)
        # For a read_committed consumer these ends lie before any open transaction. Its states may
        # be written after the ends of the states are recorded, but its changes are still to come.
        begin = (starts_of if from_start else ends_of)(consumer, changes)
        if from_start:
            begin |= ends_of(consumer, states)
        else:
            known, ends = _states(config, states, view)
            begin |= ends
            yield from () if changes_only else known
        consumer.assign(list(begin))
        for tp, offset in begin.items():
            consumer.seek(tp, offset)
        with LogReader(config) as log:
            yield from _follow(consumer, log, view)
    finally:
        consumer.close()


def _follow(
    consumer: KafkaConsumer, log: LogReader, view: View
) -> Generator[Update | None, None, None]:
    """Yield each update; those of a customer are in the order of versions.

    A tombstone is in the transaction of its version, and the changes before it are in the same
    transaction or an earlier one. So once it is readable, all changes before it are below the
    current end of its partition's changes. Polling of that partition's states pauses until the
    changes are read to there.
    """
    due: dict[TopicPartition, tuple[int, list[str]]] = {}
    while True:
        polled = consumer.poll(200)
        news = bool(polled)
        for tp in sorted(polled, key=lambda tp: tp.topic == STATES):
            states = tp.topic == STATES
            for record in polled[tp]:
                update = (
                    _state(record, view.followed_state)
                    if states
                    else (yield from _change(view, record))
                )
                if update is not None:
                    yield update
            names = [
                each.key.decode(errors="replace")
                for each in polled[tp]
                if states and not each.value
            ]
            if held := [name for name in names if name in view.leaving]:
                changes = TopicPartition(CHANGES, tp.partition)
                due[changes] = (log.ends([changes])[changes], held)
                consumer.pause(tp)
        for changes in [tp for tp, (end, _) in due.items() if consumer.position(tp) >= end]:
            _, held = due.pop(changes)
            consumer.resume(TopicPartition(STATES, changes.partition))
            for name in held:
                if (update := view.changes_read(name)) is not None:
                    news = True
                    yield update
        if not news:
            yield None


def _change(view: View, record: ConsumerRecord) -> Generator[Update, None, Update | None]:
    """Apply a change, after any held tombstone that precedes it."""
    change = read(SegmentChange, record)
    if change is None:
        return None
    if (forgotten := view.changes_read(change.customer_id, change.version)) is not None:
        yield forgotten
    return view.change(change)


def _states(
    config: Mapping[str, Any], partitions: Sequence[TopicPartition], view: View
) -> tuple[list[Update], dict[TopicPartition, int]]:
    """Read all states into a view; return the updates and the end offsets."""
    latest: dict[str, Update] = {}
    with LogReader(config) as log:
        starts, ends = log.starts(partitions), log.ends(partitions)
        for batch in log.read({tp: (starts[tp], ends[tp]) for tp in partitions}):
            for record in (record for records in batch.values() for record in records):
                update = _state(record, view.state)
                if update is not None:
                    latest[update.customer_id] = update
    # Only now, since a later record may have superseded a state or removed the customer.
    return [update for update in latest.values() if update.kind == "state"], ends


def _state(
    record: ConsumerRecord,
    apply: Callable[[str, SegmentState | None, int | None], Update | None],
) -> Update | None:
    """Apply a record of the compacted topic: customer, state and version.

    One of another producer is left out.
    """
    state = read(SegmentState, record) if record.value else None
    if record.value and state is None:
        return None
    provenance = read_provenance(record.headers)
    version = provenance[1] if provenance else None
    return apply(record.key.decode(errors="replace"), state, version)


def _partitions(consumer: KafkaConsumer, topic: str) -> list[TopicPartition]:
    numbers = consumer.partitions_for_topic(topic)
    if not numbers:
        raise RuntimeError(f"topic {topic} does not exist: run `livesegments topics create`")
    return [TopicPartition(topic, number) for number in sorted(numbers)]
