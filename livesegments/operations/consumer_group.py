"""The consumer group of a deployment's workers."""

from kafka.admin import KafkaAdminClient
from kafka.errors import CoordinatorNotAvailableError


def count_workers(admin: KafkaAdminClient, group_id: str) -> int:
    """Return the number of workers in a group."""
    try:
        groups = admin.describe_groups([group_id])
    except CoordinatorNotAvailableError:  # no consumer group has ever existed
        return 0
    return len(groups.get(group_id, {}).get("members", ()))
