"""The doctor's look at the input topics, on records in memory and on Apache Kafka."""

import time
from collections.abc import Sequence

import pytest
from kafka import KafkaProducer
from kafka.admin import ConfigResource, ConfigResourceType, KafkaAdminClient
from kafka.consumer.fetcher import ConsumerRecord

from livesegments.config.settings import Settings, load
from livesegments.contracts.partitioning import Partitioner, Partitioning
from livesegments.contracts.topics import INPUTS, PROFILES, PURCHASES
from livesegments.operations.doctor import examine
from livesegments.operations.doctor.finding import Finding
from livesegments.operations.doctor.inputs import look_at_partitioners, look_at_timestamps
from livesegments.operations.input_sample import Placing
from tests.consumers.harness import record
from tests.servers import KafkaServer, RedisServer

NOW_MS = 1_772_354_000_000
BROKER = dict.fromkeys(INPUTS, "LogAppendTime")
PRODUCER = dict.fromkeys(INPUTS, "CreateTime")


def stamped(*timestamps: int) -> dict[str, list[ConsumerRecord]]:
    records = [record(PURCHASES, i, b"c", b"{}", timestamp_ms=t) for i, t in enumerate(timestamps)]
    return {PURCHASES: records, INPUTS[1]: [], INPUTS[2]: []}


def timestamps(types: dict[str, str], *given: int) -> dict[str, Finding]:
    found = look_at_timestamps(types, stamped(*given), NOW_MS * 1_000)
    return {each.name: each for each in found}


def test_timestamps_of_the_broker_are_fine() -> None:
    assert timestamps(BROKER, NOW_MS, NOW_MS - 1) == {
        "timestamps": Finding("timestamps", "ok", "set by the broker in all inputs (LogAppendTime)")
    }


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (NOW_MS // 1_000, "1 have it in seconds"),
        (NOW_MS * 1_000, "1 have it in microseconds"),
        (NOW_MS * 1_000_000, "1 have it in nanoseconds"),
        (5, "1 have it in seconds, 1 have none, or one that is no time"),
        (-1, "1 have none, or one that is no time"),
        (NOW_MS + 600_000, "1 are in the future"),
    ],
)
def test_a_timestamp_that_is_no_arrival_fails(given: int, told: str) -> None:
    found = timestamps(PRODUCER, given, NOW_MS)[f"timestamps {PURCHASES}"]
    assert found.status == "fail"
    assert f"of 2 recent records, {told}:" in found.detail
    assert "message.timestamp.type=LogAppendTime" in found.fix


def test_timestamps_of_producers_are_a_warning_with_their_age() -> None:
    found = timestamps(PRODUCER, NOW_MS - 400 * 86_400_000, NOW_MS)
    assert [each.status for each in found.values()] == ["warn"] * 3
    assert "400 days old" in found[f"timestamps {PURCHASES}"].detail


def placed(partitioner: Partitioner, partitions: int = 12) -> list[ConsumerRecord]:
    partitioning = Partitioning(partitioner, partitions)
    return [
        record(PURCHASES, 0, key.encode(), b"", partition=partitioning.of_customer(key))
        for key in (f"c{n}" for n in range(60))
    ]


def partitioners(
    settings: Settings, drawn: dict[str, Sequence[ConsumerRecord]]
) -> dict[str, Finding]:
    sample = {topic: list(drawn.get(topic, ())) for topic in INPUTS}
    return {each.name: each for each in look_at_partitioners(settings, 12, sample)}


def test_each_topic_is_compared_with_the_setting() -> None:
    drawn: dict[str, Sequence[ConsumerRecord]] = {
        PURCHASES: placed("crc32"),
        PROFILES: placed("murmur2"),
    }
    found = partitioners(load(), drawn)
    assert {name: each.status for name, each in found.items()} == {
        f"partitioner {PURCHASES}": "fail",
        "partitioner": "ok",
    }
    assert "follows crc32; " in found[f"partitioner {PURCHASES}"].detail
    found = partitioners(load(partitioner="crc32"), drawn)
    assert "follows murmur2; " in found[f"partitioner {PROFILES}"].detail
    assert partitioners(load(), {}) == {}


def test_a_mix_and_neither_are_said() -> None:
    mixed = Placing.of([*placed("crc32")[:20], *placed("murmur2")[20:]], 12)
    assert mixed.describe().startswith("a mix: murmur2 for 4")
    assert Placing.of(placed("murmur2", 11), 12).describe().startswith("neither")


@pytest.mark.servers
def test_a_topic_with_timestamps_of_producers_in_seconds_fails(
    fresh_kafka: KafkaServer, fresh_redis: RedisServer
) -> None:
    admin = KafkaAdminClient(bootstrap_servers=fresh_kafka.bootstrap)
    by_producers = {"message.timestamp.type": "CreateTime"}
    admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, PURCHASES, by_producers)])
    admin.close()
    producer = KafkaProducer(bootstrap_servers=fresh_kafka.bootstrap)
    producer.send(PURCHASES, b"{}", b"c", timestamp_ms=int(time.time())).get(30)
    producer.close()
    settings = load(kafka_bootstrap_servers=fresh_kafka.bootstrap, redis_url=fresh_redis.url)
    found = {each.name: each for each in examine(settings)}
    assert found[f"timestamps {PURCHASES}"].status == "fail"
    assert "1 have it in seconds" in found[f"timestamps {PURCHASES}"].detail
    assert f"timestamps {PROFILES}" not in found
