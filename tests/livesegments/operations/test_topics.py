"""Topics are created once, on Apache Kafka."""

import itertools
import re
import shlex
import uuid
from collections.abc import Iterator
from typing import Any

import pytest
import yaml
from kafka.admin import ConfigResource, ConfigResourceType, KafkaAdminClient

from livesegments.contracts.topics import (
    CHANGES,
    PURCHASES,
    PartitionCountError,
    configured,
    topics,
)
from livesegments.operations.topic_manifests import commands, manifests
from livesegments.operations.topics import (
    TransactionsMissingError,
    check_transactions,
    create_topics,
)
from tests.servers import KafkaServer

pytestmark = pytest.mark.servers

DAY_MS = 86_400_000
NAMES = [topic.name for topic in topics()]


@pytest.fixture
def config(fresh_kafka: KafkaServer) -> dict[str, Any]:
    return {"bootstrap_servers": fresh_kafka.bootstrap}


@pytest.fixture
def admin(config: dict[str, Any]) -> Iterator[KafkaAdminClient]:
    """A broker without topics."""
    client = KafkaAdminClient(**config)
    settle(client)
    delete(client, *NAMES)
    yield client
    client.close()


def delete(admin: KafkaAdminClient, *names: str) -> None:
    """Delete topics and wait until they are gone."""
    admin.delete_topics(list(names))
    settle(admin)
    assert not set(admin.list_topics()) & set(names)


def settle(admin: KafkaAdminClient) -> None:
    """Wait until the broker's metadata reflects all earlier requests.

    The broker applies changes in order: once it knows a topic created last, it knows the rest.
    """
    last = {f"settled-{uuid.uuid4()}": {"num_partitions": 1, "replication_factor": 1}}
    admin.create_topics(last, wait_for_metadata=True)


def create(config: dict[str, Any], partitions: int | None) -> list[tuple[str, str]]:
    return create_topics(config, partitions=partitions, replication_factor=1, retention_days=100)


def counts(admin: KafkaAdminClient) -> dict[str, int]:
    return {each["name"]: len(each["partitions"]) for each in admin.describe_topics()}


def test_topics_are_created_as_the_contracts_want_them(
    config: dict[str, Any], admin: KafkaAdminClient
) -> None:
    done = create(config, 3)
    assert dict(done) == dict.fromkeys(NAMES, "created")
    found = counts(admin)
    assert {found[topic] for topic in NAMES} == {3}
    resources = [ConfigResource(ConfigResourceType.TOPIC, each.name) for each in topics()]
    described = admin.describe_configs(resources)["topic"]
    for topic in topics(100):
        kept = {name: described[topic.name][name]["value"] for name in topic.config}
        assert kept == dict(topic.config)
    assert described[PURCHASES]["retention.ms"]["value"] == str(100 * DAY_MS)


def test_a_second_time_nothing_is_created(config: dict[str, Any], admin: KafkaAdminClient) -> None:
    create(config, 3)
    assert dict(create(config, 3)) == dict.fromkeys(NAMES, "exists")


def test_without_a_number_new_topics_take_that_of_those_that_exist(
    config: dict[str, Any], admin: KafkaAdminClient
) -> None:
    create(config, 3)
    delete(admin, CHANGES)
    done = dict(create(config, None))
    assert [name for name, what in done.items() if what == "created"] == [CHANGES]
    assert counts(admin)[CHANGES] == 3


@pytest.mark.parametrize("partitions", [2, 5])
def test_another_partition_count_is_refused_and_changes_nothing(
    config: dict[str, Any], admin: KafkaAdminClient, partitions: int
) -> None:
    create(config, 3)
    with pytest.raises(PartitionCountError, match=r"3 partitions, not|differ in their number"):
        create(config, partitions)
    delete(admin, CHANGES)
    before = counts(admin)
    with pytest.raises(PartitionCountError, match="partition"):
        create(config, partitions)
    assert counts(admin) == before


def test_a_configuration_that_a_broker_does_not_take_is_left_out(
    config: dict[str, Any], admin: KafkaAdminClient
) -> None:
    create_topics(
        config,
        partitions=1,
        replication_factor=1,
        retention_days=100,
        skip_config=["max.compaction.lag.ms", "message.timestamp.type"],
    )
    resource = ConfigResource(ConfigResourceType.TOPIC, PURCHASES)
    found = admin.describe_configs([resource], config_filter="all")["topic"][PURCHASES]
    assert found["retention.ms"]["value"] == str(100 * DAY_MS)
    assert found["message.timestamp.type"]["value"] == "CreateTime"
    with pytest.raises(ValueError, match=r"retention\.hours is not set by any topic, but cleanup"):
        configured("", 100, ["retention.hours"])


def test_printed_commands_and_manifests_are_what_would_be_created() -> None:
    wanted = configured("Acme_crm.", 100, [])
    documents = [yaml.safe_load(each) for each in manifests(wanted, 6, 3)]
    for topic, document in zip(wanted, documents, strict=True):
        assert document["spec"] == {
            "topicName": topic.name,
            "partitions": 6,
            "replicas": 3,
            "config": dict(topic.config),
        }
        assert re.fullmatch(r"[a-z0-9]([-a-z0-9.]*[a-z0-9])?", document["metadata"]["name"])
    assert len({each["metadata"]["name"] for each in documents}) == len(wanted)
    for topic, command in zip(wanted, commands(wanted, "kafka:9092", 6, 3), strict=True):
        program, *arguments = shlex.split(command)
        assert program == "kafka-topics.sh"
        configs = [b for a, b in itertools.pairwise(arguments) if a == "--config"]
        assert dict(each.split("=", 1) for each in configs) == dict(topic.config)
        assert ["--topic", topic.name, "--partitions", "6"] == arguments[4:8]
        assert arguments[:4] == ["--bootstrap-server", "kafka:9092", "--create", "--if-not-exists"]
        assert arguments[8:10] == ["--replication-factor", "3"]


def test_a_broker_without_transactions_is_named(config: dict[str, Any]) -> None:
    check_transactions(config)
    with pytest.raises(TransactionsMissingError, match=r"no transactions \(InitProducerId"):
        check_transactions({**config, "api_version": (0, 10, 2)})  # what such a broker offers
