"""Create the topics, and find how many partitions they have."""

from collections.abc import Mapping, Sequence
from typing import Any

from kafka.admin import KafkaAdminClient

from contracts.topics import (
    INPUTS,
    OUTPUTS,
    REPLAYS,
    PartitionCountError,
    check_partition_counts,
    topics,
)

DEFAULT_PARTITIONS = 4


def partition_counts(
    config: Mapping[str, Any], names: Sequence[str] = (*INPUTS, *OUTPUTS)
) -> dict[str, int]:
    """Return the number of partitions of topics, 0 where one does not exist.

    By default of those that workers read and write.
    """
    admin = KafkaAdminClient(**config)
    try:
        # A consumer's metadata would leave out partitions that have no leader at the moment.
        found = {each["name"]: len(each["partitions"]) for each in admin.describe_topics()}
    finally:
        admin.close()
    return {topic: found.get(topic, 0) for topic in names}


def create_topics(
    config: Mapping[str, Any],
    *,
    partitions: int | None,
    replication_factor: int,
    retention_days: int,
) -> list[tuple[str, str]]:
    """Create the topics that do not exist yet.

    Parameters
    ----------
    config
        Settings of the Kafka client.
    partitions, replication_factor
        Of every topic that is created; without a number as many partitions as existing topics
        have, or 4.
    retention_days
        How long purchases, erasures and changes stay.

    Returns
    -------
    (name, "created" or "exists") of every topic.

    Raises
    ------
    PartitionCountError
        If an existing topic has another number of partitions; nothing is created then.
    """
    counts = partition_counts(config, (*INPUTS, *OUTPUTS, REPLAYS))
    existing = {name: count for name, count in counts.items() if count}
    if partitions is None:
        partitions = check_partition_counts(existing) if existing else DEFAULT_PARTITIONS
    check_partition_counts({name: count or partitions for name, count in counts.items()})
    if partitions not in counts.values() and existing:
        raise PartitionCountError(
            f"the topics exist with {min(existing.values())} partitions, not {partitions}: which"
            " partition owns a customer would change. Leave --partitions out, or move to new topics"
        )
    missing = [topic for topic in topics(retention_days) if not counts[topic.name]]
    if missing:
        admin = KafkaAdminClient(**config)
        try:
            admin.create_topics(
                {
                    topic.name: {
                        "num_partitions": partitions,
                        "replication_factor": replication_factor,
                        "configs": dict(topic.config),
                    }
                    for topic in missing
                },
                wait_for_metadata=True,
            )
        finally:
            admin.close()
    created = {topic.name for topic in missing}
    return [(name, "created" if name in created else "exists") for name in counts]
