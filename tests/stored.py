"""The complete state of a partition at rest, as the verifier reads it."""

from collections.abc import Mapping
from dataclasses import dataclass

from livesegments.operations.verify.store_reader import (
    MARKER,
    Cut,
    Marker,
    Shape,
    Store,
    StoredCustomer,
    read_customer,
)
from livesegments.store.cluster_pipeline import Client


@dataclass(frozen=True, slots=True)
class StoredPartition:
    """One partition at rest."""

    cut: Cut
    customers: dict[str, StoredCustomer]
    markers: dict[bytes, Marker]


def read_partition(client: Client, group_id: str, partition: int) -> StoredPartition:
    """Read the complete state of a partition at rest."""
    store = Store(client, group_id, partition)
    shape = Shape.of(client.hgetall(f"{group_id}:deployment"))  # type: ignore[arg-type]
    customers = {
        name: read_customer(data, shape) for _, page in store.scan() for name, data in page.items()
    }
    markers: Mapping[bytes, bytes] = client.hgetall(f"{group_id}:{{{partition}}}:erasures")  # type: ignore[assignment]
    return StoredPartition(
        store.look().cut,
        customers,
        {key: MARKER.unpack(data) for key, data in markers.items()},
    )
