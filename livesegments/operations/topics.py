"""Creation of the topics, partition counts and permission checks."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from kafka.admin import ConfigResource, ConfigResourceType, KafkaAdminClient
from kafka.errors import TopicAuthorizationFailedError
from kafka.protocol.producer import (
    AddPartitionsToTxnRequest,
    InitProducerIdRequest,
    TxnOffsetCommitRequest,
)

from livesegments.contracts.topics import (
    DEFAULT_PARTITIONS,
    INPUTS,
    OUTPUTS,
    REPLAYS,
    PartitionCountError,
    check_partition_counts,
    configured,
)
from livesegments.topic_prefix import open_admin, physical


class TransactionsMissingError(RuntimeError):
    """The brokers do not support transactions."""


ALL = (*INPUTS, *OUTPUTS)


def partition_counts(config: Mapping[str, Any], names: Sequence[str] = ALL) -> dict[str, int]:
    """Return the number of partitions of topics, 0 for a topic that does not exist.

    By default for the topics that workers read and write. Raises `TopicAuthorizationFailedError`
    if the user may not describe a topic.
    """
    return {name: len(each["partitions"]) for name, each in _described(config, names).items()}


def check_allowed(
    config: Mapping[str, Any], *, read: Sequence[str], write: Sequence[str] = ()
) -> None:
    """Check the permissions to read and write topics early, before any work is done.

    Brokers before 2.3, and some that are not Apache Kafka, do not report permissions.

    Raises `TopicAuthorizationFailedError` if a permission is missing; names the topics and the
    missing operations of each.
    """
    denied = []
    for name, each in _described(config, (*read, *write)).items():
        allowed = each["authorized_operations"] or ()
        needed = {"READ": name in read, "WRITE": name in write}
        # A user who sees a topic may describe it. If DESCRIBE is missing, none were reported.
        lacks = [what for what, is_needed in needed.items() if is_needed and what not in allowed]
        if lacks and "DESCRIBE" in allowed:
            denied.append(f"{name} ({' and '.join(lacks)})")
    if denied:
        raise TopicAuthorizationFailedError(denied)


def _described(config: Mapping[str, Any], wanted: Sequence[str]) -> dict[str, dict[str, Any]]:
    with open_admin(**config) as admin:
        # A consumer's metadata omits partitions that currently have no leader. And when asked for
        # all topics, a broker omits those that the user may not see.
        found = {each["name"]: each for each in admin.describe_topics(list(dict.fromkeys(wanted)))}
    hidden = [
        name
        for name, each in found.items()
        if each["error_code"] == TopicAuthorizationFailedError.errno
    ]
    if hidden:
        raise TopicAuthorizationFailedError(hidden)
    return found


def topic_configs(admin: KafkaAdminClient, names: Iterable[str]) -> dict[str, dict[str, str]]:
    """Return topic -> name -> value; a topic whose configuration cannot be read has none."""
    resources = [ConfigResource(ConfigResourceType.TOPIC, name) for name in names]
    # By default only overrides of the broker's defaults are returned, and those may be wrong too.
    described = admin.describe_configs(resources, config_filter="all").get("topic", {})
    return {
        topic: {name: str(each["value"]) for name, each in config.items()}
        for topic, config in described.items()
    }


def check_transactions(config: Mapping[str, Any]) -> None:
    """Raise `TransactionsMissingError` if the brokers have none: nothing could be exactly once."""
    with open_admin(**config) as admin:
        offered = admin._manager.broker_version_data.api_versions
    needed = (InitProducerIdRequest, AddPartitionsToTxnRequest, TxnOffsetCommitRequest)
    lacking = [request for request in needed if request.API_KEY not in offered]
    if lacking:
        raise TransactionsMissingError(
            "the Kafka brokers have no transactions"
            f" ({', '.join(each.__name__.removesuffix('Request') for each in lacking)}), which"
            " Livesegments needs to publish exactly once: use Apache Kafka 2.5 or later, or a"
            " compatible service with transactions"
        )


def create_topics(
    config: Mapping[str, Any],
    *,
    partitions: int | None,
    replication_factor: int,
    retention_days: int,
    skip_config: Collection[str] = (),
) -> list[tuple[str, str]]:
    """Create the topics that do not exist yet; return (name on the broker, "created" or "exists").

    Without ``partitions``, they have as many as existing topics, or 4. Configurations in
    ``skip_config`` are left to the broker's defaults.

    Raises `PartitionCountError` if an existing topic has a different number of partitions; no topic
    is created then.
    """
    counts = partition_counts(config, (*INPUTS, *OUTPUTS, REPLAYS))
    existing = {name: count for name, count in counts.items() if count}
    prefix = physical(config, "")
    if partitions is None:
        partitions = check_partition_counts(existing, prefix) if existing else DEFAULT_PARTITIONS
    check_partition_counts({name: count or partitions for name, count in counts.items()}, prefix)
    if partitions not in counts.values() and existing:
        raise PartitionCountError(
            f"the topics exist with {min(existing.values())} partitions, not {partitions}: which"
            " partition owns a customer would change. Leave --partitions out, or move to new topics"
        )
    wanted = configured("", retention_days, skip_config)
    missing = [topic for topic in wanted if not counts[topic.name]]
    if missing:
        new = {
            topic.name: {
                "num_partitions": partitions,
                "replication_factor": replication_factor,
                "configs": dict(topic.config),
            }
            for topic in missing
        }
        with open_admin(**config) as admin:
            admin.create_topics(new, wait_for_metadata=True)
    created = {topic.name for topic in missing}
    return [(physical(config, name), "created" if name in created else "exists") for name in counts]


def missing_topics(config: Mapping[str, Any]) -> list[str]:
    """Return the topics of a worker that do not exist.

    Raises `PartitionCountError` if those that exist differ in their number of partitions.
    """
    counts = partition_counts(config)
    existing = {name: count for name, count in counts.items() if count}
    if existing:
        check_partition_counts(existing, physical(config, ""))
    return sorted(physical(config, name) for name in set(counts) - set(existing))
