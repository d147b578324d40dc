"""Expected output of a peer, computed from the topic, so that a broken one cannot look fast."""

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from confluent_kafka import OFFSET_BEGINNING, Consumer, TopicPartition
from numpy.typing import NDArray

from livesegments.model import batch_kmeans

Floats = NDArray[np.float64]
Offsets = Mapping[int, int]
"""Partition -> offset after the last record."""

Change = tuple[str, int, int]
"""Customer, segment before, segment now."""

CLUSTERS = 5
NONE = -1


@dataclass(frozen=True, slots=True)
class Model:
    """Five centroids (5, 2) over scaled log1p(purchases), log1p(spend)."""

    scales: Floats
    centroids: Floats

    @classmethod
    def fit(cls, vectors: Floats) -> "Model":
        """Fit it to customers' vectors (n, 2)."""
        fit = batch_kmeans.fit(vectors, CLUSTERS, seed=1)
        scales = np.sqrt(fit.weights)
        return cls(scales, fit.centroids * scales)

    def assign(self, vectors: Floats) -> NDArray[np.int64]:
        """Return the nearest centroid of each vector (n, 2)."""
        places = (vectors * self.scales)[:, None, :]
        return np.asarray(((places - self.centroids) ** 2).sum(axis=2).argmin(axis=1))

    def environment(self) -> dict[str, str]:
        """Return it as environment variables for the peers."""
        return {
            "PEER_SCALES": ",".join(map(repr, self.scales.tolist())),
            "PEER_CENTROIDS": ",".join(map(repr, self.centroids.ravel().tolist())),
        }


@dataclass(frozen=True, slots=True)
class Purchases:
    """The purchases of a partition in order, and each customer's vector after each (n, 2)."""

    customers: list[str]
    vectors: Floats

    @classmethod
    def of(cls, values: Sequence[bytes]) -> "Purchases":
        """Aggregate them, all in one window."""
        totals: dict[str, tuple[int, int]] = {}
        customers, counts, cents = [], [], []
        for value in values:
            purchase = json.loads(value)
            customer = purchase["customer_id"]
            count, spent = totals.get(customer, (0, 0))
            totals[customer] = count + 1, spent + round(purchase["amount"] * 100)
            customers.append(customer)
            counts.append(count + 1)
            cents.append(spent + round(purchase["amount"] * 100))
        return cls(customers, np.log1p(np.column_stack((np.array(counts), np.array(cents) / 100))))

    def last(self) -> Floats:
        """Return the last vector of each customer."""
        rows = {customer: row for row, customer in enumerate(self.customers)}
        return np.asarray(self.vectors[list(rows.values())])

    def changes(self, model: Model, end: int) -> Iterator[Change]:
        """Yield the changes caused by the purchases below an offset."""
        told: dict[str, int] = {}
        labels = model.assign(self.vectors[:end]).tolist()
        for customer, label in zip(self.customers, labels, strict=False):
            before = told.get(customer, NONE)
            if before != label:
                told[customer] = label
                yield customer, before, label


def expected(purchases: Sequence[Purchases], model: Model, offsets: Offsets) -> Counter[Change]:
    """Return how often each change must be on the output once the offsets have been reached."""
    return Counter(
        change
        for partition, end in offsets.items()
        for change in purchases[partition].changes(model, end)
    )


def counts(purchases: Sequence[Purchases], offsets: Offsets) -> Counter[str]:
    """Return the purchases of each customer below the offsets."""
    return Counter(
        name for partition, end in offsets.items() for name in purchases[partition].customers[:end]
    )


def read(bootstrap: str, topic: str, partitions: int) -> list[list[bytes]]:
    """Return the committed values of each partition of a topic, up to its end."""
    consumer = Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": "reader",
            "isolation.level": "read_committed",
            "enable.auto.commit": False,
            "enable.partition.eof": True,
        }
    )
    found: list[list[bytes]] = [[] for _ in range(partitions)]
    consumer.assign([TopicPartition(topic, p, OFFSET_BEGINNING) for p in range(partitions)])
    at_end: set[int] = set()
    while len(at_end) < partitions:
        for message in consumer.consume(10_000, 1.0):
            partition = message.partition()
            assert partition is not None
            if message.error() is None:
                found[partition].append(message.value() or b"")
            else:
                at_end.add(partition)
    consumer.close()
    return found
