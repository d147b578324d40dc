"""What a subscriber of the output topics knows: everyone's segment, and how they came into it."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from kafka import TopicPartition
from kafka.consumer.fetcher import ConsumerRecord

from contracts.segments import SegmentChange, SegmentDefinition, SegmentState
from contracts.topics import CHANGES, DEAD_LETTERS, DEFINITIONS, STATES

SUBSCRIBED = (CHANGES, STATES, DEFINITIONS, DEAD_LETTERS)


@dataclass(frozen=True, slots=True)
class Checks:
    """What must hold of the outputs, counted over all customers."""

    customers: int
    broken_chains: int
    """Changes that do not continue the one before: another segment, or no higher version."""
    disagreeing: int
    """Customers whose compacted state is not what their last change says."""
    dead_letters: int

    @property
    def hold(self) -> bool:
        """Whether nothing is wrong."""
        return not (self.broken_chains or self.disagreeing or self.dead_letters)


class Seen:
    """Takes in the records of the output topics, in the order they are read."""

    def __init__(self) -> None:
        self.changes: list[SegmentChange] = []
        self.states = 0
        """Records of the state topic so far; it holds one a change."""
        self.definitions: dict[str, SegmentDefinition] = {}
        self.sizes: Counter[str | None] = Counter()
        """Customers by segment id, as the change log has it; None is no segment."""
        self.event_time: datetime | None = None
        """Event time of the latest change."""
        self._last: dict[str, SegmentChange] = {}
        self._state: dict[str, tuple[str | None, int]] = {}
        self._broken_chains = 0
        self._dead_letters = 0

    def take(self, polled: Mapping[TopicPartition, Sequence[ConsumerRecord]]) -> None:
        """Take in what a poll returned."""
        for tp, records in polled.items():
            for record in records:
                if tp.topic == DEAD_LETTERS:
                    self._dead_letters += 1
                else:
                    self._take_value(tp.topic, record.key, record.value)

    def _take_value(self, topic: str, key: bytes, value: bytes | None) -> None:
        if topic == STATES:
            self.states += 1
        if value is None:
            if topic == STATES:
                self._state.pop(key.decode(), None)
        elif topic == CHANGES:
            self._take_change(SegmentChange.model_validate_json(value))
        elif topic == STATES:
            state = SegmentState.model_validate_json(value)
            segment = state.segment.id if state.segment else None
            self._state[state.customer_id] = segment, state.version
        elif topic == DEFINITIONS:
            definition = SegmentDefinition.model_validate_json(value)
            self.definitions[definition.id] = definition

    def _take_change(self, change: SegmentChange) -> None:
        before = self._last.get(change.customer_id)
        if (change.previous_segment != (before.segment if before else None)) or (
            before is not None and change.version <= before.version
        ):
            self._broken_chains += 1
        if before is not None:
            self.sizes[_id(before)] -= 1
        self.sizes[_id(change)] += 1
        self._last[change.customer_id] = change
        self.changes.append(change)
        self.event_time = max(self.event_time or change.occurred_at, change.occurred_at)

    def checks(self) -> Checks:
        """Return whether the changes form chains, and the states agree with them."""
        told = {name: (_id(change), change.version) for name, change in self._last.items()}
        customers = told.keys() | self._state.keys()
        return Checks(
            customers=len(customers),
            broken_chains=self._broken_chains,
            disagreeing=sum(told.get(name) != self._state.get(name) for name in customers),
            dead_letters=self._dead_letters,
        )

    def kinds(self) -> dict[str, Counter[str]]:
        """Return the number of changes by kind (assigned, ...) and origin."""
        counts: dict[str, Counter[str]] = {}
        for change in self.changes:
            counts.setdefault(change.change, Counter())[change.origin] += 1
        return counts

    def left(self, segment: str, within: timedelta) -> list[SegmentChange]:
        """Return how customers left a segment lately and stayed away, the latest first.

        Parameters
        ----------
        segment
            Id of the segment that they left.
        within
            Event time from then until the latest change.
        """
        if self.event_time is None:
            return []
        since = self.event_time - within
        departures = {
            change.customer_id: change
            for change in self.changes
            if change.previous_segment is not None
            and change.previous_segment.id == segment
            and change.occurred_at >= since
        }
        return sorted(
            (
                change
                for name, change in departures.items()
                if _id(self._last[name]) not in (segment, None)
            ),
            key=lambda change: change.occurred_at,
            reverse=True,
        )


def _id(change: SegmentChange) -> str | None:
    return change.segment.id if change.segment else None
