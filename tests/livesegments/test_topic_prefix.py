"""Two deployments with their own topics on one Kafka and one Redis."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from kafka import KafkaConsumer
from kafka.admin import KafkaAdminClient
from kafka.errors import KafkaTimeoutError
from typer import Exit

from livesegments.cli.console import clear_errors
from livesegments.config.settings import Settings
from livesegments.contracts.dead_letters import TOPIC
from livesegments.contracts.topics import CHANGES, DEAD_LETTERS, INPUTS, PURCHASES, STATES, topics
from tests.load import load as make_load
from tests.servers import KafkaServer, RedisServer
from tests.service import Service

pytestmark = pytest.mark.servers

NAMES = {topic.name for topic in topics()}


@pytest.fixture
def brands(
    fresh_kafka: KafkaServer, fresh_redis: RedisServer, tmp_path: Path
) -> Iterator[list[Service]]:
    """Two deployments with topics of their own; the topics without a prefix are gone."""
    admin = KafkaAdminClient(bootstrap_servers=fresh_kafka.bootstrap)
    admin.delete_topics(sorted(NAMES))
    services = []
    for brand in ("acme.crm.", "Other_"):
        folder = tmp_path / brand
        folder.mkdir()
        group = brand.rstrip("._")
        settings = {"TOPIC_PREFIX": brand, "GROUP_ID": group}
        services.append(Service(fresh_kafka, fresh_redis, folder, settings))
    yield services
    for service in services:
        service.stop()
    made = [name for name in admin.list_topics() if name.startswith(("acme.crm.", "Other_"))]
    admin.delete_topics(made)
    admin.close()


def test_two_deployments_share_kafka_and_redis(brands: list[Service]) -> None:
    first, second = brands
    for service in brands:
        done = service.command("topics", "create")
        assert done.returncode == 0, done.stderr
        assert f"created  {service.config['topic_prefix']}{PURCHASES}" in done.stdout
    first.send(make_load(3_000))
    second.send(make_load(2_000, customers=200, seed=1))
    for service in (first, first, second):
        service.start()
    for service in brands:
        service.wait()
    every = [
        ["doctor"],
        ["refit"],
        ["report", str(first.folder / "report.html")],
        ["watch", "--json", "--limit", "1"],
        ["dead-letters", "list"],
        ["dead-letters", "replay", "--dry-run"],
        ["rebuild", "--yes"],
    ]
    counts = []
    for service, more in ((first, every), (second, [])):
        rows = service.folder / "rows.jsonl"
        for arguments in (["export", str(rows)], *more):
            done = service.command(*arguments)
            assert done.returncode == 0, (arguments, done.stdout, done.stderr)
            if arguments[0] == "watch":
                assert json.loads(done.stdout)["troubles"] == []
        service.wait()
        assert service.command("verify").returncode == 0
        counts.append(len(rows.read_text().splitlines()))
    assert counts[0] > 250
    assert 100 < counts[1] <= 200
    with KafkaAdminClient(bootstrap_servers=first.kafka.bootstrap) as admin:
        found = {name for name in admin.list_topics() if not name.startswith(("__", "last-"))}
    assert found == {prefix + name for prefix in ("acme.crm.", "Other_") for name in NAMES}


def test_outputs_name_topics_without_the_prefix(brands: list[Service]) -> None:
    service = brands[0]
    assert service.command("topics", "create").returncode == 0
    service.send(make_load(2_000))
    service.start()
    service.wait()
    consumer = KafkaConsumer(
        *(f"acme.crm.{topic}" for topic in (DEAD_LETTERS, CHANGES, STATES)),
        bootstrap_servers=service.kafka.bootstrap,
        auto_offset_reset="earliest",
        consumer_timeout_ms=3_000,
    )
    records = list(consumer)
    consumer.close()
    letters = [dict(each.headers) for each in records if each.topic == f"acme.crm.{DEAD_LETTERS}"]
    assert {each[TOPIC].decode() for each in letters} <= set(INPUTS)
    causes = [
        json.loads(each.value)["cause"] for each in records if each.topic == f"acme.crm.{CHANGES}"
    ]
    assert {each["topic"] for each in causes if each} <= set(INPUTS)
    assert letters
    assert causes


def test_another_prefix_in_the_same_group_is_refused(brands: list[Service]) -> None:
    service = brands[0]
    assert service.command("topics", "create").returncode == 0
    service.start()
    service.wait()
    service.environment["LIVESEGMENTS_TOPIC_PREFIX"] = "Other_"
    missing = service.command("run")
    assert missing.returncode == 1
    assert "missing topics: Other_" in missing.stderr
    assert service.command("topics", "create").returncode == 0
    for arguments in (["run"], ["rebuild", "--yes"]):
        done = service.command(*arguments)
        assert done.returncode == 1
        assert "topic_prefix is Other_ here and acme.crm. in the store" in done.stderr


def test_a_prefix_without_topics_is_named(
    fresh_kafka: KafkaServer, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = Settings(kafka_bootstrap_servers=fresh_kafka.bootstrap, topic_prefix="none.")
    with pytest.raises(Exit), clear_errors(settings):
        raise KafkaTimeoutError("Failed to get offsets")
    assert "missing topics: none.customer-erasures.v1, none." in capsys.readouterr().err
