"""Fast delivery of many records to Kafka in bounded memory, with every delivery confirmed."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

from kafka import KafkaProducer
from kafka.errors import AuthorizationError, KafkaError
from kafka.partitioner import Partitioner as KafkaPartitioner
from kafka.producer.future import FutureRecordMetadata

from livesegments.contracts.partitioning import Partitioner, Partitioning
from livesegments.producers.shutdown import shut_down
from livesegments.topic_prefix import open_producer

# kafka-python does not bound its memory: a fast file and a slow broker would exhaust it.
_MOST_IN_FLIGHT = 20_000
_MOST_CACHED_KEYS = 1_000_000
_PROGRESS_STEP = 1_000

_START_TIMEOUT_MS = 5_000
_DELIVERY_TIMEOUT_MS = 60_000
_CLOSE_TIMEOUT = 2.0
_PRODUCER = {
    "acks": "all",
    "enable_idempotence": True,
    "allow_auto_create_topics": False,
    "bootstrap_timeout_ms": _START_TIMEOUT_MS,
    "max_block_ms": _START_TIMEOUT_MS,
    "request_timeout_ms": 10_000,
    "delivery_timeout_ms": _DELIVERY_TIMEOUT_MS,
    "batch_size": 512 * 1024,
    "metrics_enabled": False,
}


class Record(NamedTuple):
    """Event as a Kafka record."""

    key: bytes
    """The customer id, in UTF-8."""
    value: bytes | None
    """The event as JSON; null deletes a profile."""
    instant: int
    """The event time, in microseconds since the epoch."""


class DeliveryError(RuntimeError):
    """Kafka is unreachable, lacks a topic, or did not accept every record."""


class Deliveries:
    """Sender that confirms every delivery; created by `connected`.

    All methods raise `DeliveryError` once a record could not be delivered, or an
    `AuthorizationError` if Kafka denies it.
    """

    def __init__(
        self,
        producer: KafkaProducer,
        progress: Callable[[int], None] | None,
        headers: Sequence[tuple[str, bytes]] = (),
    ) -> None:
        self.sent = 0
        """Records sent; all of them delivered after `finish`."""
        self._producer = producer
        self._progress = progress
        self._headers = list(headers)
        self._in_flight: deque[FutureRecordMetadata] = deque()

    def send(self, topic: str, record: Record) -> None:
        """Send a record, waiting only if too many are in flight."""
        try:
            self._in_flight.append(
                self._producer.send(topic, record.value, record.key, headers=self._headers)
            )
        except KafkaError as error:
            raise self._undelivered(error) from error
        self.sent += 1
        if len(self._in_flight) > _MOST_IN_FLIGHT:
            self._await_oldest()
        if self._progress is not None and self.sent % _PROGRESS_STEP == 0:
            self._progress(self.sent)

    def check(self) -> None:
        """Check finished deliveries, without waiting."""
        while self._in_flight and self._in_flight[0].is_done:
            self._await_oldest()

    def finish(self) -> None:
        """Wait until all records are delivered."""
        try:
            self._producer.flush(_DELIVERY_TIMEOUT_MS / 1000)
        except KafkaError as error:
            raise self._undelivered(error) from error
        while self._in_flight:
            self._await_oldest()
        if self._progress is not None:
            self._progress(self.sent)

    def _await_oldest(self) -> None:
        oldest = self._in_flight[0]
        if not oldest.succeeded():
            try:
                oldest.get(_DELIVERY_TIMEOUT_MS / 1000)
            except KafkaError as error:
                raise self._undelivered(error) from error
        self._in_flight.popleft()

    def _undelivered(self, error: KafkaError) -> DeliveryError | AuthorizationError:
        if isinstance(error, AuthorizationError):
            return error
        lost = sum(not future.succeeded() for future in self._in_flight)
        return DeliveryError(
            f"{max(lost, 1)} of {self.sent} records sent were not confirmed by Kafka: {error!r}"
        )


@contextmanager
def connected(
    client: Mapping[str, Any],
    topics: Iterable[str],
    partitioner: Partitioner,
    *,
    linger_ms: int,
    progress: Callable[[int], None] | None = None,
    headers: Sequence[tuple[str, bytes]] = (),
) -> Iterator[Deliveries]:
    """Connect for the duration of a ``with`` block.

    Parameters
    ----------
    client
        Settings of kafka-python's producer; they override the defaults here.
    topics
        Topics to send to; each must exist.
    partitioner
        Hash that chooses the partition of each key.
    linger_ms
        Time that a batch waits for more records.
    progress
        Called with the number of records sent, at intervals.
    headers
        Headers of every record.

    Raises
    ------
    DeliveryError
        No broker responds, or a topic is missing.
    AuthorizationError
        The user may not write to a topic.
    """
    servers = client.get("bootstrap_servers", "localhost:9092")
    where = servers if isinstance(servers, str) else ", ".join(servers)
    try:
        producer = open_producer(
            KafkaProducer,
            **{
                **_PRODUCER,
                "linger_ms": linger_ms,
                "partitioner": _CachingPartitioner(partitioner),
                **client,
            },
        )
    except KafkaError as error:
        raise DeliveryError(f"cannot reach Kafka at {where}: {error!r}") from error
    try:
        for topic in topics:
            try:
                producer.partitions_for(topic)
            except AuthorizationError:
                raise
            except KafkaError as error:
                raise DeliveryError(
                    f"no topic {topic} at {where} ({error!r}): run `livesegments topics create`"
                ) from error
        yield Deliveries(producer, progress, headers)
    finally:
        shut_down(producer, _CLOSE_TIMEOUT)


class _CachingPartitioner(KafkaPartitioner):  # type: ignore[misc]
    """Partition of each key, with a cache: hashing one key at a time takes an eighth of a send."""

    def __init__(self, partitioner: Partitioner) -> None:
        self._partitioner = partitioner
        self._known: dict[tuple[str, bytes], int] = {}

    def partition(
        self,
        topic: str,
        _key: bytes,
        serialized_key: bytes,
        _value: bytes,
        _serialized_value: bytes,
        cluster: Any,
    ) -> int:
        """Return the partition of a key; kafka-python calls this with every record."""
        known = self._known.get((topic, serialized_key))
        if known is None:
            partitioning = Partitioning(self._partitioner, len(cluster.partitions_for_topic(topic)))
            known = int(partitioning.of_keys([serialized_key])[0])
            if len(self._known) >= _MOST_CACHED_KEYS:
                self._known.clear()
            self._known[topic, serialized_key] = known
        return known
