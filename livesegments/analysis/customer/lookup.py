"""Lookup of one customer in the store."""

from dataclasses import dataclass

from livesegments.contracts.partitioning import Partitioning
from livesegments.domain import record_shape
from livesegments.features.erasures import Marker, marker_key
from livesegments.features.record_codec import Records, decode, is_profiled
from livesegments.features.window import Tiling
from livesegments.operations.model_loader import deployment_of
from livesegments.store.checkpoint import Checkpoint
from livesegments.store.deployment import Deployment
from livesegments.store.partitions import Partitions, ReadRequest


class CustomerError(RuntimeError):
    """The customer is not known; the message says why."""


@dataclass(frozen=True, slots=True)
class StoredCustomer:
    """A customer as stored: one record, the sum of their erasure requests, and their partition."""

    customer_id: str
    partition: int
    record: Records
    marker: Marker
    progress: Checkpoint
    deployment: Deployment

    @property
    def layout(self) -> Tiling:
        """Tiling of the window."""
        return Tiling(self.deployment.window_days, self.deployment.tiles)

    @property
    def is_empty(self) -> bool:
        """True if nothing is kept but the fact that something was deleted."""
        record = self.record
        kept = (record["segment"] >= 0) | record["counts"].any() | record["cents"].any()
        return not bool((kept | is_profiled(record))[0])


def look_up(store: Partitions, customer_id: str) -> StoredCustomer:
    """Look a customer up.

    Raises
    ------
    NoModelError
        If no worker has ever run.
    CustomerError
        If the store has nothing about the customer.
    """
    deployment = deployment_of(store)
    partitioning = Partitioning(deployment.partitioner, deployment.partitions)
    partition = partitioning.of_customer(customer_id)
    marker = marker_key(customer_id, store.group_id)
    [reading] = store.read([ReadRequest(partition, [customer_id], [marker])])
    [blob], [remembered] = reading.records, reading.erasures
    [progress] = store.checkpoints([partition]) if blob or remembered else [None]
    if progress is not None:
        found = StoredCustomer(
            customer_id,
            partition,
            decode([blob], record_shape(deployment)),
            Marker.from_bytes(remembered),
            progress,
            deployment,
        )
        if found.marker.cutoff_us or found.marker.suppressed or not found.is_empty:
            return found
    raise CustomerError(
        f"customer {customer_id!r} is not known: no purchase or profile of theirs was accepted, or"
        " the retention has removed their record"
    )
