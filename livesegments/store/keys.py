"""Names of the Redis keys, prefixed with the consumer group id of their deployment."""

from functools import cache
from typing import NamedTuple


class PartitionKeys(NamedTuple):
    """Keys of a partition, in the order of the commit script's KEYS.

    They share a hash tag, and therefore a slot.

    Attributes
    ----------
    progress
        Hash: last writer, input offsets and the partition's clock.
    customers
        Hash: customer id -> record.
    statistics
        Hash: generation -> statistics; ``swept`` -> generation of all records, 0 for several.
    outbox
        Hash: version -> outputs of that version.
    erasures
        Hash: keyed hash of a customer id -> erasure marker.
    seen
        String: ring of the 8-byte fingerprints of the most recent purchases.
    """

    progress: str
    customers: str
    statistics: str
    outbox: str
    erasures: str
    seen: str


@cache
def partition_keys(group_id: str, partition: int) -> PartitionKeys:
    """Return the keys of a partition."""
    return PartitionKeys(*(f"{group_id}:{{{partition}}}:{name}" for name in PartitionKeys._fields))


def trial_key(group_id: str, partition: int) -> str:
    """Return a short-lived key for testing the Redis user's permissions."""
    return f"{group_id}:{{{partition}}}:trial"


def deployment_key(group_id: str) -> str:
    """Return the hash of the settings that all workers of the deployment must share."""
    return f"{group_id}:deployment"


def refit_key(group_id: str) -> str:
    """Return the string with a manually requested fit, until partition 0's owner takes it."""
    return f"{group_id}:refit"
