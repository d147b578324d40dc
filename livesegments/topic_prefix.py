"""Kafka clients of a deployment whose topics have a prefix.

Everything else knows topics by the names in `livesegments.contracts.topics`. These clients add the
prefix to what they send to a broker and remove it from what they return.
"""

from collections.abc import Iterable, Mapping
from typing import Any, Self, TypeVar

from kafka import TopicPartition
from kafka.admin import ACLOperation, KafkaAdminClient
from kafka.consumer.fetcher import ConsumerRecord
from kafka.net.compat import KafkaNetClient

CONFIG = "topic_prefix"
"""Name of the prefix in a client configuration; absent without a prefix."""

T = TypeVar("T")
_OPERATIONS = frozenset(each.value for each in ACLOperation)


class AdminClient(KafkaAdminClient):  # type: ignore[misc]
    """Admin client that leaves out operations that kafka-python does not know.

    It raises ValueError for them, and the demo's broker names all that fit into the field.
    """

    def _process_acl_operations(self, obj: dict[str, Any]) -> Any:
        allowed = obj.get("authorized_operations")
        if allowed is not None:  # kafka-python changes them in place
            obj["authorized_operations"] = [each for each in allowed if each in _OPERATIONS]
        return super()._process_acl_operations(obj)


def open_consumer(kind: Any, **config: Any) -> Any:
    """Return a consumer: a KafkaConsumer of the given class, under the prefix of its topics."""
    prefix = config.pop(CONFIG, "")
    consumer = _open(kind, config)
    return _PrefixedConsumer(consumer, prefix) if prefix else consumer


def open_producer(kind: Any, **config: Any) -> Any:
    """Return a producer: a KafkaProducer of the given class, under the prefix of its topics."""
    prefix = config.pop(CONFIG, "")
    producer = _open(kind, config)
    return _PrefixedProducer(producer, prefix) if prefix else producer


def open_admin(**config: Any) -> Any:
    """Return an admin client, under the prefix of its topics."""
    prefix = config.pop(CONFIG, "")
    admin = _open(AdminClient, config)
    return _PrefixedAdmin(admin, prefix) if prefix else admin


def _open(kind: Any, config: Mapping[str, Any]) -> Any:
    """Return a client; close its connections if it cannot reach a broker.

    kafka-python leaves a thread and several files open for each try, as in a long outage.
    """
    opened: list[KafkaNetClient] = []

    def connections(**options: Any) -> KafkaNetClient:
        opened.append(KafkaNetClient(**options))
        return opened[-1]

    try:
        return kind(**config, kafka_client=connections)
    except BaseException:
        for each in opened:
            each.close()
        raise


def without_prefix(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the configuration of clients that name no topics."""
    return {name: value for name, value in config.items() if name != CONFIG}


def physical(config: Mapping[str, Any], topic: str) -> str:
    """Return the name of a topic on the broker, for messages."""
    return f"{config.get(CONFIG, '')}{topic}"


class _Prefixed:
    """Client that delegates all other attributes."""

    def __init__(self, client: Any, prefix: str) -> None:
        self._client, self._prefix = client, prefix

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()

    def _add(self, tp: TopicPartition) -> TopicPartition:
        return TopicPartition(self._prefix + tp.topic, tp.partition)

    def _remove(self, tp: TopicPartition) -> TopicPartition:
        return TopicPartition(tp.topic.removeprefix(self._prefix), tp.partition)

    def _add_all(self, partitions: Iterable[TopicPartition]) -> list[TopicPartition]:
        return list(map(self._add, partitions))

    def _removed(self, found: Mapping[TopicPartition, T]) -> dict[TopicPartition, T]:
        return {self._remove(tp): value for tp, value in found.items()}


class _PrefixedConsumer(_Prefixed):
    """Consumer; its methods are those of KafkaConsumer."""

    def subscribe(self, topics: Iterable[str], **options: Any) -> None:
        self._client.subscribe([self._prefix + topic for topic in topics], **options)

    def assign(self, partitions: Iterable[TopicPartition]) -> None:
        self._client.assign(self._add_all(partitions))

    def assignment(self) -> set[TopicPartition]:
        return set(map(self._remove, self._client.assignment()))

    def poll(self, *args: Any, **options: Any) -> dict[TopicPartition, list[ConsumerRecord]]:
        polled: dict[TopicPartition, list[ConsumerRecord]] = {}
        for tp, records in self._client.poll(*args, **options).items():
            own = self._remove(tp)
            polled[own] = [
                tuple.__new__(ConsumerRecord, (own.topic, *record[1:])) for record in records
            ]
        return polled

    def pause(self, *partitions: TopicPartition) -> None:
        self._client.pause(*self._add_all(partitions))

    def paused(self) -> set[TopicPartition]:
        return set(map(self._remove, self._client.paused()))

    def resume(self, *partitions: TopicPartition) -> None:
        self._client.resume(*self._add_all(partitions))

    def seek(self, partition: TopicPartition, offset: int) -> None:
        self._client.seek(self._add(partition), offset)

    def position(self, partition: TopicPartition, *args: Any, **options: Any) -> Any:
        return self._client.position(self._add(partition), *args, **options)

    def highwater(self, partition: TopicPartition) -> Any:
        return self._client.highwater(self._add(partition))

    def committed(self, partition: TopicPartition, *args: Any, **options: Any) -> Any:
        return self._client.committed(self._add(partition), *args, **options)

    def beginning_offsets(
        self, partitions: Iterable[TopicPartition], *args: Any, **options: Any
    ) -> dict[TopicPartition, int]:
        found = self._client.beginning_offsets(self._add_all(partitions), *args, **options)
        return self._removed(found)

    def end_offsets(
        self, partitions: Iterable[TopicPartition], *args: Any, **options: Any
    ) -> dict[TopicPartition, int]:
        found = self._client.end_offsets(self._add_all(partitions), *args, **options)
        return self._removed(found)

    def offsets_for_times(
        self, times: Mapping[TopicPartition, int], *args: Any, **options: Any
    ) -> dict[TopicPartition, Any]:
        asked = {self._add(tp): at for tp, at in times.items()}
        return self._removed(self._client.offsets_for_times(asked, *args, **options))

    def partitions_for_topic(self, topic: str) -> Any:
        return self._client.partitions_for_topic(self._prefix + topic)


class _PrefixedProducer(_Prefixed):
    """Producer; its methods are those of KafkaProducer.

    The offsets of a transaction may be those of any topic, so they have no prefix added.
    """

    def send(self, topic: str, *args: Any, **options: Any) -> Any:
        return self._client.send(self._prefix + topic, *args, **options)

    def partitions_for(self, topic: str) -> Any:
        return self._client.partitions_for(self._prefix + topic)


class _PrefixedAdmin(_Prefixed):
    """Admin client; its methods are those of KafkaAdminClient."""

    def describe_topics(self, topics: Iterable[str]) -> list[dict[str, Any]]:
        found = self._client.describe_topics([self._prefix + topic for topic in topics])
        return [{**each, "name": each["name"].removeprefix(self._prefix)} for each in found]

    def create_topics(self, topics: Mapping[str, Any], **options: Any) -> Any:
        named = {self._prefix + name: topic for name, topic in topics.items()}
        return self._client.create_topics(named, **options)

    def describe_configs(self, resources: Iterable[Any], **options: Any) -> Any:
        named = [type(each)(each.resource_type, self._prefix + each.name) for each in resources]
        found = self._client.describe_configs(named, **options)
        topics = found.get("topic", {}).items()
        return {"topic": {name.removeprefix(self._prefix): config for name, config in topics}}

    def list_group_offsets(
        self, groups: Mapping[str, Iterable[TopicPartition]]
    ) -> dict[str, dict[TopicPartition, Any]]:
        asked = {group: self._add_all(partitions) for group, partitions in groups.items()}
        found = self._client.list_group_offsets(asked)
        return {group: self._removed(offsets) for group, offsets in found.items()}
