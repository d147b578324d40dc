"""What the store has of one customer."""

from dataclasses import dataclass

from features.erasures import Marker, marker_key
from features.layout import Layout
from features.record import Records, decode, is_profiled
from producers.partitioning import partition_of
from store.deployment import Deployment
from store.partitions import Partitions, Want
from store.progress import Progress


class CustomerError(RuntimeError):
    """Nothing can be said of a customer; says why."""


@dataclass(frozen=True, slots=True)
class Found:
    """What the store has of a customer.

    Attributes
    ----------
    partition
        Where they are.
    record
        One record.
    marker
        What their erasure requests add up to.
    progress
        Of the partition.
    """

    customer_id: str
    partition: int
    record: Records
    marker: Marker
    progress: Progress
    deployment: Deployment

    @property
    def layout(self) -> Layout:
        """How the window is cut."""
        return Layout(self.deployment.window_days, self.deployment.tiles)

    @property
    def is_empty(self) -> bool:
        """Whether nothing is kept of them, or no more than that something was deleted."""
        record = self.record
        kept = (record["segment"] >= 0) | record["counts"].any() | record["cents"].any()
        return not bool((kept | is_profiled(record))[0])


def find(store: Partitions, customer_id: str) -> Found:
    """Look a customer up.

    First where producers with Kafka's default partitioner send them. Others have their own; so who
    is not there is looked for everywhere.

    Raises
    ------
    CustomerError
        If no worker has ever run, or the store knows nothing of the customer.
    """
    deployment = store.deployment()
    if deployment is None:
        raise CustomerError(
            f"group {store.keys.group_id!r} has nothing in the store: start a worker first"
        )
    first = partition_of(customer_id, deployment.partitions)
    others = [partition for partition in range(deployment.partitions) if partition != first]
    marker = marker_key(customer_id, store.keys.group_id)
    for partitions in ([first], others):
        readings = store.read([Want(p, [customer_id], [marker]) for p in partitions])
        for partition, reading in zip(partitions, readings, strict=True):
            [blob], [remembered] = reading.records, reading.erasures
            [progress] = store.progresses([partition]) if blob or remembered else [None]
            if progress is None:
                continue
            found = Found(
                customer_id,
                partition,
                decode([blob], deployment.tiles),
                Marker.from_bytes(remembered),
                progress,
                deployment,
            )
            if found.marker.cutoff_us or found.marker.suppressed or not found.is_empty:
                return found
    raise CustomerError(
        f"customer {customer_id!r} is not known: no purchase or profile of theirs was taken, or"
        " what was kept has gone with the retention"
    )
