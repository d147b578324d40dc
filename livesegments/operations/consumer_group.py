"""The consumer group of a deployment's workers."""

from collections.abc import Sequence

from kafka import TopicPartition
from kafka.admin import KafkaAdminClient
from kafka.errors import CoordinatorNotAvailableError


def count_workers(admin: KafkaAdminClient, group_id: str) -> int:
    """Return the number of workers in a group."""
    try:
        groups = admin.describe_groups([group_id])
    except CoordinatorNotAvailableError:  # no consumer group has ever existed
        return 0
    return len(groups.get(group_id, {}).get("members", ()))


def offsets_of(
    admin: KafkaAdminClient, group_id: str, partitions: Sequence[TopicPartition]
) -> dict[TopicPartition, tuple[int, str | None]]:
    """Return offset and metadata of the partitions for which a group has committed any."""
    try:
        found = admin.list_group_offsets({group_id: partitions})[group_id]
    except CoordinatorNotAvailableError:  # no consumer group has ever existed
        return {}
    return {tp: (each.offset, each.metadata) for tp, each in found.items() if each.offset >= 0}
