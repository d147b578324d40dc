"""Topics are created once, on Apache Kafka."""

import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from kafka.admin import ConfigResource, ConfigResourceType, KafkaAdminClient

from livesegments.contracts.topics import CHANGES, PURCHASES, PartitionCountError, topics
from livesegments.operations.topics import create_topics
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
