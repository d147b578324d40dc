"""KafkaProducer on the cluster in memory, as far as the service uses it.

A failed record does not fail the transaction, and neither `flush` nor `commit_transaction` reports
it. A fenced producer learns of it by its first record, and everything after that fails.
"""

from collections import defaultdict
from collections.abc import Callable, Mapping
from typing import Any

from kafka import TopicPartition
from kafka.errors import (
    KafkaConnectionError,
    KafkaError,
    KafkaTimeoutError,
    ProducerFencedError,
)
from kafka.structs import OffsetAndMetadata

from livesegments.producers.record_batch import Batch
from tests.simulation.cluster import Cluster
from tests.simulation.edges import Edge
from tests.simulation.logs import Message

RETRY_SECONDS = 0.1


class Future:
    """The future returned by `send`."""

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
        messages: list[Message] = [(key, value, list(headers or []))]
        if isinstance(headers, Batch):
            messages += [(each.key, each.value, each.headers) for each in headers.later]
            headers.appended = True
        waiting = self._waiting[TopicPartition(topic, partition)]
        waiting += [(message, future) for message in messages]
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
            # Only the record failed: the transaction itself could still be committed.
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
        """Retry while the coordinator reports that an earlier transaction still ends."""
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
