"""KafkaConsumer and KafkaProducer on the cluster in memory, as far as the service uses them.

What they do is what kafka-python 3.0.12 does on Apache Kafka (`test_kafka_semantics.py` holds them
against both), down to its traps: a failed record does not fail the transaction, only a
read_committed consumer asks for stable offsets, a member that was put out has no generation and
may publish all the same.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
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
    ProducerFencedError,
)
from kafka.structs import ConsumerGroupMetadata, MemberState, OffsetAndMetadata

from consumers.membership import Membership
from tests.simulation.cluster import Cluster, Message
from tests.simulation.edges import Edge

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
        self._listener: Any = None
        self._member, self._generation, self._state = "", -1, MemberState.UNJOINED
        self._positions: dict[TopicPartition, int | None] = {}
        self._paused: set[TopicPartition] = set()
        self._joining = False

    # -- the group

    def subscribe(self, topics: Sequence[str], listener: Any = None) -> None:
        self._topics, self._listener = list(topics), listener or Membership()

    def group_metadata(self) -> ConsumerGroupMetadata:
        return ConsumerGroupMetadata(
            self._group_id, self._generation, self._member, None, self._state
        )

    def assignment(self) -> set[TopicPartition]:
        return set(self._positions)

    def put_out(self) -> None:
        """Learn from a heartbeat that the group goes on without this member."""
        if self._member and self._member not in self._cluster.group.members:
            self._member, self._generation, self._state = "", -1, MemberState.UNJOINED

    @property
    def member(self) -> str:
        """The member id, "" when it has none."""
        return self._member

    def _join(self) -> bool:
        """Join the group or its new generation; return whether that is done."""
        group = self._cluster.group
        if self._member in group.members and self._generation == group.generation:
            return True
        self.put_out()
        if not self._joining:
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
        self._generation, self._state = group.generation, MemberState.STABLE
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

    def beginning_offsets(self, partitions: Sequence[TopicPartition]) -> dict[TopicPartition, int]:
        return self._call(
            "beginning_offsets", lambda: {tp: self._cluster.logs[tp].start for tp in partitions}
        )

    def end_offsets(self, partitions: Sequence[TopicPartition]) -> dict[TopicPartition, int]:
        logs = self._cluster.logs
        return self._call(
            "end_offsets",
            lambda: {
                tp: logs[tp].stable_end if self._committed_only else logs[tp].end
                for tp in partitions
            },
        )

    def poll(
        self, timeout_ms: float = 0, max_records: int | None = None
    ) -> dict[TopicPartition, list[ConsumerRecord]]:
        def fetch() -> dict[TopicPartition, list[ConsumerRecord]]:
            return self._fetch(max_records or self._max_records)

        before = dict(self._positions)
        try:
            polled = self._call("poll", fetch)
        except KafkaError:
            # Records are not passed over by a poll that raises.
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
        """Start where the group has committed; raise where it has not."""
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


class Future:
    """What `send` returns."""

    def __init__(self) -> None:
        self.is_done = False
        self.exception: Exception | None = None

    def failed(self) -> bool:
        return self.is_done and self.exception is not None

    def succeeded(self) -> bool:
        return self.is_done and self.exception is None


class Producer:
    """A KafkaProducer with a transactional id."""

    def __init__(self, cluster: Cluster, edge: Edge, **config: Any) -> None:
        self._cluster, self._edge = cluster, edge
        self._id: str = config["transactional_id"]
        self._max_block_seconds = config.get("max_block_ms", 60_000) / 1000
        self._epoch = -1
        self._state = "uninitialized"
        self._waiting: dict[TopicPartition, list[tuple[Message, Future]]] = defaultdict(list)
        self._sender = self

    def init_transactions(self) -> None:
        def init() -> int | None:
            return self._cluster.open_producer(self._id)

        epoch = self._until_known(lambda: self._call("init_transactions", init, writes=True))
        self._epoch, self._state = epoch, "ready"

    def begin_transaction(self) -> None:
        self._to("in transaction", "ready")

    def send(
        self,
        topic: str,
        value: bytes | None = None,
        key: bytes | None = None,
        headers: list[tuple[str, bytes]] | None = None,
        partition: int = 0,
    ) -> Future:
        if self._state != "in transaction":
            raise KafkaError(f"cannot send in state {self._state}")
        if key is None and value is None:
            raise ValueError("Need at least one: key or value")
        assert all(isinstance(each, bytes) for _, each in headers or ())
        future = Future()
        message = (key, value, headers or [])
        self._waiting[TopicPartition(topic, partition)].append((message, future))
        return future

    def flush(self, timeout: float | None = None) -> None:  # noqa: ARG002
        waiting, self._waiting = self._waiting, defaultdict(list)
        for tp, batch in waiting.items():
            self._deliver(tp, batch)

    def _deliver(self, tp: TopicPartition, batch: list[tuple[Message, Future]]) -> None:
        def append() -> None:
            self._cluster.append(self._id, self._epoch, tp, [message for message, _ in batch])

        error: Exception | None = None
        try:
            self._take_part()
            self._call("append", append, writes=True)
        except ProducerFencedError as fenced:
            error, self._state = fenced, "fatal"
        except KafkaError as failure:
            # The record is what failed: the transaction itself could still be committed.
            error = failure
        for _, future in batch:
            future.is_done, future.exception = True, error

    def send_offsets_to_transaction(
        self, offsets: Mapping[TopicPartition, OffsetAndMetadata], group_metadata: Any
    ) -> None:
        def add() -> None:
            self._cluster.add_offsets(self._id, self._epoch, offsets, group_metadata)

        self._to("in transaction", "in transaction")

        def request() -> None:
            self._take_part()
            self._call("send_offsets", add, writes=True)

        self._transact(request, "abortable")

    def commit_transaction(self) -> None:
        self._to("committing", "in transaction")
        self.flush()
        self._transact(lambda: self._end("commit"), "fatal")
        self._state = "ready"

    def abort_transaction(self) -> None:
        self._to("aborting", "in transaction", "abortable")
        self._waiting.clear()
        self._transact(lambda: self._end("abort"), "fatal")
        self._state = "ready"

    def close(self, timeout: float | None = None) -> None:  # noqa: ARG002
        self._state = "closed"

    def force_close(self) -> None:
        self._state = "closed"

    def _end(self, decision: str) -> None:
        def end() -> None:
            self._cluster.end(self._id, self._epoch, decision)

        self._call(f"{decision}_transaction", end, writes=True)

    def _take_part(self) -> None:
        def take_part() -> object:
            return self._cluster.take_part(self._id, self._epoch)

        self._until_known(take_part)

    def _until_known(self, ask: Callable[[], Any]) -> Any:
        """Ask again while the coordinator says that an earlier transaction still ends."""
        waited = 0.0
        while (answer := ask()) is None:
            if waited > self._max_block_seconds:
                raise KafkaTimeoutError("an earlier transaction does not end")
            self._edge.wait(RETRY_SECONDS)
            waited += RETRY_SECONDS
        return answer

    def _transact(self, request: Callable[[], object], after_error: str) -> None:
        try:
            request()
        except ProducerFencedError:
            self._state = "fatal"
            raise
        except KafkaError:
            self._state = after_error
            raise

    def _to(self, state: str, *sources: str) -> None:
        if self._state not in sources:
            raise KafkaError(f"invalid transition from {self._state} to {state}")
        self._state = state

    def _call(self, name: str, effect: Callable[[], Any], *, writes: bool = False) -> Any:
        return self._edge.call(
            f"kafka.{name}", effect, lambda: KafkaConnectionError(name), writes=writes
        )
