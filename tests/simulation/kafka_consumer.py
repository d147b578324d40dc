"""KafkaConsumer on the cluster in memory, as far as the service uses it.

Only a read_committed consumer asks for stable offsets. A member that was removed has no generation
once a heartbeat has reported it, and still lists its partitions until it polls. A poll may end
while a join is in progress: between JoinGroup and SyncGroup, with the new generation and the old
partitions. Unless the join was requested explicitly, no later poll completes it.
"""

from collections.abc import Callable, Iterable, Sequence
from random import Random
from typing import Any, TypeVar

from kafka import TopicPartition
from kafka.consumer.fetcher import ConsumerRecord
from kafka.errors import (
    KafkaConnectionError,
    KafkaError,
    KafkaTimeoutError,
    NoOffsetForPartitionError,
    OffsetOutOfRangeError,
)
from kafka.structs import ConsumerGroupMetadata, MemberState

from livesegments.consumers.polling import RebalanceListener
from tests.simulation.cluster import Cluster
from tests.simulation.edges import Edge
from tests.simulation.logs import Log

T = TypeVar("T")

RETRY_SECONDS = 0.1


class Consumer:
    """A KafkaConsumer."""

    def __init__(self, cluster: Cluster, edge: Edge, rng: Random, **config: Any) -> None:
        self._cluster, self._edge, self._rng = cluster, edge, rng
        self._committed_only = config.get("isolation_level") == "read_committed"
        self._reset = config.get("auto_offset_reset", "latest")
        self._group_id = config.get("group_id")
        self._max_records = config.get("max_poll_records", 500)
        self._topics: list[str] = []
        self._known: set[str] = set()
        self._listener: Any = None
        self._member, self._generation, self._state = "", -1, MemberState.UNJOINED
        self._positions: dict[TopicPartition, int | None] = {}
        self._paused: set[TopicPartition] = set()
        self._joining = self._forgotten = False
        self.synced = True
        """Whether SyncGroup is answered, as a rule at once."""
        self._coordinator = self

    # -- the group

    def subscribe(self, topics: Sequence[str], listener: Any = None) -> None:
        self._topics, self._listener = list(topics), listener or RebalanceListener(self)

    def unsubscribe(self) -> None:
        self.close()
        self._topics, self._positions = [], {}
        self._member, self._generation, self._state = "", -1, MemberState.UNJOINED

    def group_metadata(self) -> ConsumerGroupMetadata:
        return ConsumerGroupMetadata(
            self._group_id, self._generation, self._member, None, self._state
        )

    def assignment(self) -> set[TopicPartition]:
        return set(self._positions)

    def put_out(self) -> None:
        """Learn from a heartbeat that the group has removed this member."""
        if self._member and self._member not in self._cluster.group.members:
            self._member, self._generation, self._state = "", -1, MemberState.UNJOINED

    @property
    def member(self) -> str:
        """The member id, "" when it has none."""
        return self._member

    def request_rejoin(self) -> None:
        """Make later polls complete a join that a poll begins."""
        self._forgotten = False

    def _join(self) -> bool:
        """Join the group or its new generation; return whether that is complete."""
        group = self._cluster.group
        if self._forgotten:
            return False
        if (
            self._state is MemberState.STABLE
            and self._member in group.members
            and self._generation == group.generation
        ):
            return True
        self.put_out()
        if not self._joining:
            self._forgotten = True
            if self._generation < 0 and self._positions:
                self._listener.on_partitions_lost(set(self._positions))
                self._positions = {}
            else:
                self._listener.on_partitions_revoked(set(self._positions))
            self._joining = True
            if self._rng.random() < 0.2:
                return False
        if self._member not in group.members:
            self._member = f"{self._rng.getrandbits(32):08x}"
            group.join(self._member)
        self._generation, self._state = group.generation, MemberState.REBALANCING
        if self._rng.random() < 0.2 or not self.synced:
            return False
        self._state, self._forgotten = MemberState.STABLE, False
        self._positions = dict.fromkeys(group.assigned(self._member))
        self._paused, self._joining = set(), False
        self._listener.on_partitions_assigned(set(self._positions))
        return True

    def committed(
        self, partition: TopicPartition, metadata: bool = False, timeout_ms: float | None = None
    ) -> Any:
        def fetch() -> tuple[Any, bool]:
            return self._cluster.committed(partition, stable=self._committed_only)

        waited = 0.0
        while True:
            found, known = self._call("committed", fetch)
            if known:
                return found if metadata or found is None else found.offset
            self._edge.wait(RETRY_SECONDS)
            waited += RETRY_SECONDS
            if timeout_ms is not None and waited * 1000 > timeout_ms:
                raise KafkaTimeoutError("the offsets are not stable")

    # -- records

    def assign(self, partitions: Iterable[TopicPartition]) -> None:
        self._positions = dict.fromkeys(partitions)
        self._paused = set()

    def seek(self, partition: TopicPartition, offset: int) -> None:
        if partition not in self._positions:
            raise ValueError("Unassigned partition")
        self._positions[partition] = offset

    def seek_to_beginning(self, *partitions: TopicPartition) -> None:
        for tp in partitions or tuple(self._positions):
            self._positions[tp] = self._cluster.logs[tp].start

    def position(self, partition: TopicPartition, timeout_ms: int | None = None) -> int:  # noqa: ARG002 - never waits
        position = self._positions[partition]
        assert position is not None
        return position

    def pause(self, *partitions: TopicPartition) -> None:
        self._paused |= set(partitions)

    def resume(self, *partitions: TopicPartition) -> None:
        self._paused -= set(partitions)

    def paused(self) -> set[TopicPartition]:
        return set(self._paused)

    def highwater(self, partition: TopicPartition) -> int:
        return self._cluster.logs[partition].end

    def partitions_for_topic(self, topic: str) -> set[int]:
        return {tp.partition for tp in self._cluster.logs if tp.topic == topic}

    def beginning_offsets(
        self,
        partitions: Sequence[TopicPartition],
        timeout_ms: float | None = None,  # noqa: ARG002 - never waits
    ) -> dict[TopicPartition, int]:
        return self._offsets("beginning_offsets", partitions, lambda log: log.start)

    def end_offsets(
        self,
        partitions: Sequence[TopicPartition],
        timeout_ms: float | None = None,  # noqa: ARG002 - never waits
    ) -> dict[TopicPartition, int]:
        return self._offsets(
            "end_offsets",
            partitions,
            lambda log: log.stable_end if self._committed_only else log.end,
        )

    def _offsets(
        self, name: str, partitions: Sequence[TopicPartition], of: Callable[[Log], int]
    ) -> dict[TopicPartition, int]:
        # A partition with unknown leader is left out when that of another is known.
        topics = {tp.topic for tp in partitions}
        unknown, known = topics - self._known, topics & self._known
        self._known |= topics
        if unknown and known:
            raise KeyError(min(unknown))
        return self._call(name, lambda: {tp: of(self._cluster.logs[tp]) for tp in partitions})

    def poll(
        self, timeout_ms: float = 0, max_records: int | None = None
    ) -> dict[TopicPartition, list[ConsumerRecord]]:
        def fetch() -> dict[TopicPartition, list[ConsumerRecord]]:
            return self._fetch(max_records or self._max_records)

        before = dict(self._positions)
        try:
            polled = self._call("poll", fetch)
        except KafkaError:
            # A poll that raises does not skip records.
            self._positions |= {tp: at for tp, at in before.items() if tp in self._positions}
            raise
        if not polled:
            self._edge.wait(timeout_ms / 1000)
        return polled

    def _fetch(self, max_records: int) -> dict[TopicPartition, list[ConsumerRecord]]:
        if self._topics:
            if not self._join():
                return {}
            self._find_positions()
        found: dict[TopicPartition, list[ConsumerRecord]] = {}
        ready = [tp for tp in self._positions if tp not in self._paused]
        self._rng.shuffle(ready)
        for tp in ready:
            log, position = self._cluster.logs[tp], self._positions[tp]
            assert position is not None
            if not log.start <= position <= log.end:
                raise OffsetOutOfRangeError({tp: position})
            if self._topics and self._rng.random() < 0.3:
                continue  # its broker has not answered yet
            records, self._positions[tp] = log.read(
                position, max_records, committed=self._committed_only
            )
            if records:
                found[tp] = records
                max_records -= len(records)
            if max_records <= 0:
                break
        return found

    def _find_positions(self) -> None:
        """Start at the group's committed offsets; raise without one."""
        for tp in [tp for tp, position in self._positions.items() if position is None]:
            found, known = self._cluster.committed(tp, stable=self._committed_only)
            if found is not None and known:
                self._positions[tp] = found.offset
        missing = {tp for tp, position in self._positions.items() if position is None}
        if missing:
            raise NoOffsetForPartitionError(missing)

    def close(self, **_: object) -> None:
        if self._member:
            self._cluster.group.leave(self._member)

    def _call(self, name: str, effect: Callable[[], T]) -> T:
        return self._edge.call(f"kafka.{name}", effect, lambda: KafkaConnectionError(name))
