"""The doctor finds faults of Apache Kafka and Redis, and survives all of them."""

import time
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pytest
import redis
from kafka import KafkaProducer
from kafka.admin import ConfigResource, ConfigResourceType, KafkaAdminClient
from pydantic import SecretStr
from redis.exceptions import RedisError

from livesegments.config.settings import Settings
from livesegments.contracts.topics import (
    CHANGES,
    DEAD_LETTERS,
    ERASURES,
    PURCHASES,
    REPLAYS,
    STATES,
)
from livesegments.local_servers import free_ports
from livesegments.operations.doctor import examine
from livesegments.operations.doctor.clocks import look_at_clocks
from livesegments.operations.doctor.finding import Finding
from livesegments.operations.doctor.redis_server import look_at_redis
from livesegments.store.checkpoint import Checkpoint
from livesegments.store.deployment import Deployment
from livesegments.store.keys import partition_keys
from livesegments.store.partitions import Commit, Partitions
from tests.livesegments.operations.test_topics import delete, settle
from tests.servers import KafkaServer, RedisServer
from tests.service import PARTITIONS, Service, purchase, running

pytestmark = pytest.mark.servers

DAY_MS = 86_400_000


@pytest.fixture
def settings(fresh_kafka: KafkaServer, fresh_redis: RedisServer) -> Settings:
    return Settings(
        kafka_bootstrap_servers=fresh_kafka.bootstrap, redis_url=SecretStr(fresh_redis.url)
    )


@pytest.fixture
def admin(settings: Settings) -> Iterator[KafkaAdminClient]:
    client = KafkaAdminClient(bootstrap_servers=settings.kafka_bootstrap_servers)
    settle(client)
    yield client
    client.close()


@pytest.fixture
def client(settings: Settings) -> Iterator["redis.Redis"]:
    with redis.Redis.from_url(settings.redis_url.get_secret_value(), protocol=2) as connected:
        yield connected


def agree(client: "redis.Redis", settings: Settings, **other: Any) -> None:
    agreed = {
        "partitions": PARTITIONS,
        "window_days": settings.window_days,
        "tiles": settings.tiles,
        "currency": settings.currency,
        "dedup_events": settings.dedup_events,
        "segments": settings.read_segmentation().segment_ids,
        "features": settings.read_segmentation().feature_names,
        **other,
    }
    Partitions(client, settings.group_id).agree(Deployment(**agreed))


def named(findings: list[Finding], name: str) -> Finding:
    found = [finding for finding in findings if finding.name == name]
    assert found, findings
    return found[0]


def nowhere() -> int:
    [port] = free_ports(1)
    return port


def test_before_the_first_worker_nothing_fails_and_it_says_what_to_start(
    settings: Settings,
) -> None:
    # Another group, because a worker killed by an earlier test may still be a member.
    findings = examine(settings.model_copy(update={"group_id": "never-there"}))
    assert [each for each in findings if each.status == "fail"] == []
    assert named(findings, "topics").detail == f"all there, {PARTITIONS} partitions each"
    for name in ("workers", "deployment"):
        assert named(findings, name).status == "warn"
        assert "livesegments run" in named(findings, name).fix
    assert named(findings, "model").status == "warn"


def test_whatever_is_not_ok_comes_with_a_way_out(settings: Settings) -> None:
    gone = settings.model_copy(
        update={"kafka_bootstrap_servers": f"127.0.0.1:{nowhere()}"},
    )
    for finding in [*examine(settings), *examine(gone)]:
        assert finding.status == "ok" or finding.fix, finding


def test_a_single_copy_of_the_topics_is_a_warning(settings: Settings) -> None:
    found = named(examine(settings), "replication")
    assert found.status == "warn"
    assert "1" in found.detail


def test_without_kafka_redis_is_still_examined(settings: Settings, client: "redis.Redis") -> None:
    agree(client, settings)
    gone = settings.model_copy(update={"kafka_bootstrap_servers": f"127.0.0.1:{nowhere()}"})
    began = time.monotonic()
    findings = examine(gone)
    assert time.monotonic() - began < 60
    assert named(findings, "kafka").status == "fail"
    assert "KAFKA_BOOTSTRAP_SERVERS" in named(findings, "kafka").fix
    assert named(findings, "redis").status == "ok"


def test_without_redis_kafka_and_the_model_are_still_examined(settings: Settings) -> None:
    url = SecretStr(f"redis://user:secret@127.0.0.1:{nowhere()}/0")
    findings = examine(settings.model_copy(update={"redis_url": url}))
    assert named(findings, "redis").status == "fail"
    assert named(findings, "topics").status == "ok"
    assert named(findings, "model").status == "warn"
    assert "secret" not in str(findings)


@pytest.mark.parametrize("topic", [PURCHASES, CHANGES])
def test_a_missing_topic_is_named(
    settings: Settings, admin: KafkaAdminClient, client: "redis.Redis", topic: str
) -> None:
    agree(client, settings)
    delete(admin, topic)
    began = time.monotonic()
    found = named(examine(settings), "topics")
    assert time.monotonic() - began < 60
    assert found.status == "fail"
    assert topic in found.detail
    assert "livesegments topics create" in found.fix


def test_unequal_partition_counts_fail(settings: Settings, admin: KafkaAdminClient) -> None:
    admin.create_partitions({PURCHASES: 5})
    settle(admin)
    found = named(examine(settings), "topics")
    assert found.status == "fail"
    assert f"{PURCHASES} has 5" in found.detail


def test_a_topic_with_another_cleanup_policy_or_a_short_retention_is_found(
    settings: Settings, admin: KafkaAdminClient
) -> None:
    admin.alter_configs(
        [
            ConfigResource(ConfigResourceType.TOPIC, STATES, {"cleanup.policy": "delete"}),
            ConfigResource(
                ConfigResourceType.TOPIC,
                PURCHASES,
                {"retention.ms": str(7 * DAY_MS), "retention.bytes": "1000000"},
            ),
            ConfigResource(ConfigResourceType.TOPIC, ERASURES, {"retention.ms": str(9 * DAY_MS)}),
        ]
    )
    settle(admin)
    findings = examine(settings)
    assert named(findings, f"topic {STATES}").status == "fail"
    assert "compact" in named(findings, f"topic {STATES}").fix
    assert named(findings, f"topic {PURCHASES}").status == "warn"
    assert "7 days" in named(findings, f"topic {PURCHASES}").detail
    assert [each.status for each in findings if "keeps 1000000 bytes" in each.detail] == ["warn"]
    assert named(findings, f"topic {ERASURES}").detail == "keeps 9 days"
    assert "suppressed" in named(findings, f"topic {ERASURES}").fix


def test_topics_with_the_brokers_defaults_are_found(
    settings: Settings, admin: KafkaAdminClient
) -> None:
    names = [DEAD_LETTERS, ERASURES, PURCHASES, STATES]
    delete(admin, *names)
    plain = {"num_partitions": PARTITIONS, "replication_factor": 1}
    admin.create_topics(dict.fromkeys(names, plain), wait_for_metadata=True)
    findings = examine(settings)
    assert named(findings, f"topic {STATES}").status == "fail"
    assert named(findings, f"topic {STATES}").detail == "cleanup.policy is delete"
    assert named(findings, f"topic {ERASURES}").detail == "keeps 7 days"
    assert named(findings, f"topic {PURCHASES}").detail == "keeps 7 days, the window is 90"
    assert named(findings, f"topic {DEAD_LETTERS}").status == "warn"
    assert "2097152" in named(findings, f"topic {DEAD_LETTERS}").fix


def test_a_topic_that_does_not_tell_its_configuration_is_a_warning(
    settings: Settings, admin: KafkaAdminClient
) -> None:
    delete(admin, REPLAYS)
    found = named(examine(settings), f"topic {REPLAYS}")
    assert found.status == "warn"
    assert found.detail == "its configuration cannot be read"


def test_settings_that_the_store_does_not_have_are_named(
    settings: Settings, client: "redis.Redis"
) -> None:
    agree(client, settings, window_days=30, currency="EUR")
    findings = [each for each in examine(settings) if each.name == "deployment"]
    assert [each.status for each in findings] == ["fail", "fail"]
    assert "WINDOW_DAYS is 90 here and 30 in the store" in findings[0].detail
    assert "CURRENCY is USD here and EUR in the store" in findings[1].detail


@pytest.mark.parametrize("partitions", [2, 8])
def test_topics_with_another_partition_count_than_the_store_fail(
    settings: Settings, client: "redis.Redis", partitions: int
) -> None:
    agree(client, settings, partitions=partitions)
    began = time.monotonic()
    found = named(examine(settings), "deployment")
    assert time.monotonic() - began < 60
    assert found.status == "fail"
    assert f"{partitions}" in found.detail
    assert f"{PARTITIONS}" in found.detail


def test_an_eviction_policy_that_loses_customers_is_found(
    settings: Settings, client: "redis.Redis"
) -> None:
    client.set("a key of somebody", "evicted")
    client.config_set("maxmemory-policy", "allkeys-lru")
    client.config_set("maxmemory", 1)
    with suppress(RedisError):  # evicts all there is, and has no room even then
        client.set("another", "refused")
    client.config_set("maxmemory", 100_000_000)
    try:
        findings = list(look_at_redis(settings))
    finally:
        client.config_set("maxmemory", 0)
        client.config_set("maxmemory-policy", "noeviction")
        client.config_resetstat()
    found = named(findings, "redis memory")
    assert found.status == "fail"
    assert "noeviction" in found.fix
    assert "rebuild" in named(findings, "redis evictions").fix
    assert "redis evictions" not in [each.name for each in look_at_redis(settings)]


def test_a_full_server_is_found(settings: Settings, client: "redis.Redis") -> None:
    client.config_set("maxmemory", client.info("memory")["used_memory"] // 2)
    try:
        found = named(list(look_at_redis(settings)), "redis memory")
    finally:
        client.config_set("maxmemory", 0)
    assert found.status == "fail"
    assert "maxmemory" in found.fix


def test_persistence_that_is_off_is_a_warning(settings: Settings, client: "redis.Redis") -> None:
    assert named(examine(settings), "redis persistence").status == "warn"
    client.config_set("save", "3600 1")
    try:
        names = [finding.name for finding in examine(settings)]
    finally:
        client.config_set("save", "")
    assert "redis persistence" not in names


def test_a_redis_that_hides_its_configuration_is_not_called_unreachable(
    settings: Settings, client: "redis.Redis"
) -> None:
    client.acl_setuser(
        "guest", enabled=True, passwords=["+pass"], keys=["*"], commands=["+@all", "-config"]
    )
    try:
        host = settings.redis_url.get_secret_value().removeprefix("redis://")
        url = SecretStr(f"redis://guest:pass@{host}")
        findings = examine(settings.model_copy(update={"redis_url": url}))
    finally:
        client.acl_deluser("guest")
    assert [each for each in findings if each.status == "fail"] == []


@pytest.mark.timeout(120)
def test_with_a_worker_it_counts_members_customers_and_what_is_to_go(
    fresh_kafka: KafkaServer,
    fresh_redis: RedisServer,
    settings: Settings,
    client: "redis.Redis",
    tmp_path: Path,
) -> None:
    service = Service(fresh_kafka, fresh_redis, tmp_path)
    events = [
        purchase(f"c{i % 80}", f"2024-01-{1 + i % 20:02d}T10:00:00Z", 1.0 + i % 37)
        for i in range(400)
    ]
    with running(service):
        service.send(events)
        service.wait_for(service.has_model, "everyone is scored")
        service.wait()
        findings = examine(settings)
        assert [each for each in findings if each.status == "fail"] == []
        assert named(findings, "workers").detail == "1 in group livesegments"
        assert named(findings, "progress").detail == "80 customers, 0 input records to go"
        assert named(findings, "model").status == "ok"
        # What this store published last is not what Kafka has: another store's workers did.
        keys = partition_keys(settings.group_id, 2)
        key = keys.progress
        mine: dict[Any, Any] = client.hgetall(key)
        service.stop()
        client.hset(key, "version", "not a number")
        found = named(examine(settings), "progress")
        assert found.status == "fail"
        assert "with livesegments: and start them" in found.fix
        client.hset(key, mapping=mine | {"nonce": "0" * 16, "seen": "1" * 16 + ":1"})
        found = named(examine(settings), "store")
        assert found.status == "fail"
        assert "partitions [2]" in found.detail
        client.hset(key, mapping=mine)
        [statistics] = {name for name in client.hkeys(keys.statistics) if name.isdigit()}
        counted: Any = client.hget(keys.statistics, statistics)
        client.hset(keys.statistics, statistics, b"\xff\xff\0\0\0\0\0\0" + counted[8:])
        found = named(examine(settings), "outputs")
        assert found.status == "fail"
        assert "partitions [2] of customer-segments.v1 have fewer records" in found.detail
        client.hset(keys.statistics, statistics, counted)
        with closing(KafkaProducer(bootstrap_servers=settings.kafka_bootstrap_servers)) as other:
            source = [("ce_source", b"/livesegments/newsletter")]
            other.send(STATES, b"{}", b"c1", headers=source, partition=1).get(10)
        found = named(examine(settings), "outputs")
        assert found.status == "fail"
        assert "partitions [1] are from another group (/livesegments/newsletter)" in found.detail
        service.send([purchase("late", "2024-01-21T10:00:00Z")] * 7)
        assert named(examine(settings), "progress").detail == "80 customers, 7 input records to go"


def test_clocks_that_are_apart_are_named(settings: Settings, client: "redis.Redis") -> None:
    assert named(examine(settings), "clocks").status == "ok"
    [found] = look_at_clocks(settings, lambda: time.time_ns() // 1_000 - 3_600_000_000)
    assert found.status == "fail"
    assert "the clock here is 60 min behind Redis 127.0.0.1" in found.detail
    producer = KafkaProducer(bootstrap_servers=settings.kafka_bootstrap_servers)
    producer.send(PURCHASES, key=b"c", value=b"{}", partition=1).get(30)
    producer.close()
    *_, found = look_at_clocks(settings, lambda: time.time_ns() // 1_000 - 3_600_000_000)
    assert "the broker, by its last record in purchases.v1-1" in found.detail


def test_a_partition_that_is_ahead_is_to_be_rebuilt(
    settings: Settings, client: "redis.Redis"
) -> None:
    agree(client, settings)
    ahead_us = time.time_ns() // 1_000 + 3 * 86_400_000_000
    progress = Checkpoint(clock_us=ahead_us)
    assert Partitions(client, settings.group_id).commit([Commit(1, None, progress)]) == [True]
    found = named(examine(settings), "clocks")
    assert found.status == "fail"
    assert "partition 1 is 3 days ahead of Redis" in found.detail
    assert "livesegments rebuild" in found.fix


def test_markers_of_transactions_are_nothing_to_go(
    settings: Settings, client: "redis.Redis"
) -> None:
    agree(client, settings)
    producer = KafkaProducer(
        bootstrap_servers=settings.kafka_bootstrap_servers, transactional_id="shop"
    )
    producer.init_transactions()
    for ended in (producer.commit_transaction, producer.abort_transaction):
        producer.begin_transaction()
        for topic, key, value in [purchase("c", "2024-01-21T10:00:00Z")] * 3:
            producer.send(topic, key=key, value=value, partition=1)
        producer.flush(30)
        ended()
    assert named(examine(settings), "progress").detail == "0 customers, 3 input records to go"
    producer.begin_transaction()
    producer.send(PURCHASES, key=b"c", value=b"not yet", partition=1).get(30)
    assert named(examine(settings), "progress").detail == "0 customers, 3 input records to go"
    producer.abort_transaction()
    producer.close()


def test_an_id_of_guests_is_named(settings: Settings) -> None:
    producer = KafkaProducer(bootstrap_servers=settings.kafka_bootstrap_servers)
    for number in range(200):
        customer = "guest" if number % 2 else f"c{number % 70}"
        topic, key, value = purchase(customer, "2024-01-21T10:00:00Z", event_id=f"e{number}")
        producer.send(topic, key=key, value=value)
    producer.close()
    found = named(examine(settings), "customer ids")
    assert found.status == "warn"
    assert found.detail == "'guest', a placeholder, has 50.0% of the purchases sampled"
