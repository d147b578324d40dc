"""The test servers behave as the fault tests expect."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from kafka import (
    KafkaAdminClient,
    KafkaConsumer,
    KafkaProducer,
    OffsetAndMetadata,
    TopicPartition,
)
from kafka.errors import KafkaError, NoOffsetForPartitionError
from redis import Redis
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

from livesegments.contracts.topics import INPUTS, OUTPUTS, PURCHASES
from livesegments.local_servers import ServerError, embedded_broker, embedded_store
from tests.servers import KafkaServer, RedisServer, fresh_topics
from tests.servers.process import ServerProcess

pytestmark = pytest.mark.servers


def publish(bootstrap: str, topic: str, values: list[bytes]) -> None:
    with KafkaProducer(bootstrap_servers=bootstrap, acks="all") as producer:
        sent = [producer.send(topic, key=b"c1", value=value, partition=0) for value in values]
        producer.flush(10)
        for each in sent:
            each.get(0)


def read(bootstrap: str, topic: str, count: int) -> list[bytes]:
    partition = TopicPartition(topic, 0)
    with KafkaConsumer(bootstrap_servers=bootstrap) as consumer:
        consumer.assign([partition])
        consumer.seek(partition, 0)
        values: list[bytes] = []
        deadline = time.monotonic() + 10
        while len(values) < count and time.monotonic() < deadline:
            for records in consumer.poll(200).values():
                values += [record.value for record in records]
        return values


def test_killed_kafka_comes_back_at_its_port_with_its_records(fresh_kafka: KafkaServer) -> None:
    publish(fresh_kafka.bootstrap, PURCHASES, [b"1", b"2"])
    before = fresh_kafka.bootstrap
    fresh_kafka.kill()
    assert not fresh_kafka.running
    fresh_kafka.start()
    assert fresh_kafka.bootstrap == before
    assert read(fresh_kafka.bootstrap, PURCHASES, 2) == [b"1", b"2"]


def test_paused_kafka_answers_nothing_until_it_goes_on(fresh_kafka: KafkaServer) -> None:
    with KafkaProducer(
        bootstrap_servers=fresh_kafka.bootstrap, delivery_timeout_ms=5_000, request_timeout_ms=2_500
    ) as producer:
        producer.send(PURCHASES, key=b"c1", value=b"before").get(30)
        fresh_kafka.pause()
        with pytest.raises(KafkaError):
            producer.send(PURCHASES, key=b"c1", value=b"during").get(30)
        fresh_kafka.resume()
    publish(fresh_kafka.bootstrap, PURCHASES, [b"after"])


def test_fresh_topics_are_empty_and_forget_the_groups(fresh_kafka: KafkaServer) -> None:
    publish(fresh_kafka.bootstrap, PURCHASES, [b"old"])
    partition = TopicPartition(PURCHASES, 0)
    with KafkaConsumer(bootstrap_servers=fresh_kafka.bootstrap, group_id="g") as consumer:
        consumer.assign([partition])
        consumer.commit({partition: OffsetAndMetadata(1, "", -1)})
    fresh_topics(fresh_kafka.bootstrap, partitions=2)
    with KafkaAdminClient(bootstrap_servers=fresh_kafka.bootstrap) as admin:
        described = admin.describe_topics([*INPUTS, *OUTPUTS])
        assert {len(topic["partitions"]) for topic in described} == {2}
        assert admin.list_groups() == []
    with KafkaConsumer(
        bootstrap_servers=fresh_kafka.bootstrap, group_id="g", auto_offset_reset="none"
    ) as consumer:
        assert consumer.end_offsets([partition]) == {partition: 0}
        consumer.assign([partition])
        with pytest.raises(NoOffsetForPartitionError):
            consumer.poll(1000)


def test_kafka_that_cannot_start_tells_why(tmp_path: Path) -> None:
    server = KafkaServer(tmp_path, {"log.segment.bytes": "none"})
    with pytest.raises(ServerError, match=r"log\.segment\.bytes"):
        server.start()
    assert not server.running


def test_killed_redis_with_an_append_only_file_keeps_its_data(tmp_path: Path) -> None:
    with RedisServer(tmp_path, {"appendonly": "yes", "appendfsync": "always"}) as server:
        Redis.from_url(server.url).set("k", "v")
        server.kill()
        server.start()
        assert Redis.from_url(server.url).get("k") == b"v"


def test_killed_redis_without_persistence_loses_its_data(fresh_redis: RedisServer) -> None:
    Redis.from_url(fresh_redis.url).set("k", "v")
    fresh_redis.kill()
    with pytest.raises(RedisConnectionError):
        Redis.from_url(fresh_redis.url).ping()
    fresh_redis.start()
    assert Redis.from_url(fresh_redis.url).get("k") is None


def test_flushed_redis_comes_back_empty_though_an_earlier_test_saved(
    fresh_redis: RedisServer, tmp_path: Path
) -> None:
    Redis.from_url(fresh_redis.url).set("k", "of an earlier test")
    fresh_redis.save(tmp_path / "copy.rdb")
    fresh_redis.flush()
    fresh_redis.kill()
    fresh_redis.start()
    assert Redis.from_url(fresh_redis.url).get("k") is None


def test_paused_redis_answers_nothing_until_it_goes_on(fresh_redis: RedisServer) -> None:
    client = Redis.from_url(fresh_redis.url, socket_timeout=0.3)
    client.set("k", "v")
    fresh_redis.pause()
    with pytest.raises(RedisTimeoutError):
        client.get("k")
    fresh_redis.resume()
    assert Redis.from_url(fresh_redis.url).get("k") == b"v"


def test_embedded_servers_serve_and_end_with_their_block(tmp_path: Path) -> None:
    with embedded_broker(tmp_path) as bootstrap, embedded_store(tmp_path) as url:
        with KafkaAdminClient(bootstrap_servers=bootstrap) as admin:
            admin.create_topics(
                {PURCHASES: {"num_partitions": 1, "replication_factor": 1}}, wait_for_metadata=True
            )
        publish(bootstrap, PURCHASES, [b"1", b"2"])
        assert read(bootstrap, PURCHASES, 2) == [b"1", b"2"]
        client = Redis.from_url(url)
        assert client.set("k", "v")
        assert client.config_get("save") == {"save": ""}
    with pytest.raises(RedisConnectionError):
        client.ping()


def test_server_dies_when_its_parent_is_killed(tmp_path: Path) -> None:
    parent = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import pathlib, sys, time; from tests.servers.process import ServerProcess\n"
            "server = ServerProcess('sleep', ['sleep', '60'], pathlib.Path(sys.argv[1]))\n"
            "server.start(lambda: True)\n"
            "print(server.pid, flush=True)\n"
            "time.sleep(60)\n",
            str(tmp_path / "log"),
        ],
        stdout=subprocess.PIPE,
    )
    assert parent.stdout is not None
    child = int(parent.stdout.readline())
    parent.kill()
    parent.wait()
    parent.stdout.close()
    assert _ends(child)


def test_program_that_ends_at_once_is_reported_with_its_output(tmp_path: Path) -> None:
    server = ServerProcess("nothing", ["sh", "-c", "echo no luck; exit 3"], tmp_path / "log")
    with pytest.raises(ServerError, match=r"nothing ended with exit code 3\n  no luck"):
        server.start(lambda: False)


def test_server_that_ignores_a_polite_request_is_killed(tmp_path: Path) -> None:
    script = "trap '' TERM; echo up; while :; do sleep 0.1; done"
    server = ServerProcess("stubborn", ["sh", "-c", script], tmp_path / "log")
    server.start(lambda: (tmp_path / "log").read_text() == "up\n")
    pid = server.pid
    server.stop(timeout=0.2)
    assert not server.running
    assert _ends(pid)


def _ends(pid: int) -> bool:
    """Return whether a process is gone within some seconds (a zombie counts as gone)."""
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        try:
            os.kill(pid, 0)
            if Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z":
                return True
        except (ProcessLookupError, FileNotFoundError):
            return True
        time.sleep(0.02)
    return False
