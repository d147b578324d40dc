"""In-memory state of a partition that this worker owns."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from livesegments.consumers.dedup import DedupWindow
from livesegments.contracts.segments import DIMENSIONS
from livesegments.features.vector import FEATURES
from livesegments.model.cluster_statistics import ClusterStatistics
from livesegments.model.generation import Generation
from livesegments.model.kmeans import MiniBatchKMeans
from livesegments.producers.publisher import Publication
from livesegments.store.checkpoint import Checkpoint
from livesegments.store.outbox import Entry, Offsets

CLUSTERS = 5
STARTS = 16
"""Number of k-means++ initializations of a fit."""


@dataclass(frozen=True, slots=True)
class Sweep:
    """Sweep over a partition's customers that scores each under a generation and a tile."""

    generation: int
    tile: int
    cursor: int = 0


@dataclass(frozen=True, slots=True)
class PartitionState:
    """Partition state after its owner's last commit, invalid once a commit is refused.

    Attributes
    ----------
    progress
        The checkpoint, as in the store.
    estimators
        Generation -> estimator that has learned this partition's customers in it.
    published
        The last version confirmed by Kafka.
    unpublished
        Entries of the store's outbox above ``published``, oldest version first.
    in_outbox
        All versions in the store's outbox; the next commit trims the published ones.
    erasures
        Number of customers with an erasure marker.
    sweep
        The sweep in progress, if any.
    seen
        Recent purchases for deduplication; None if deduplication is off.
    offsets_pending
        Whether Kafka's offsets must be committed even without outputs to publish.
    """

    partition: int
    progress: Checkpoint
    estimators: dict[int, MiniBatchKMeans] = field(default_factory=dict)
    published: int = 0
    unpublished: tuple[Entry, ...] = ()
    in_outbox: tuple[int, ...] = ()
    erasures: int = 0
    sweep: Sweep | None = None
    seen: DedupWindow | None = None
    offsets_pending: bool = True

    @property
    def known_generation(self) -> int:
        """The newest published generation known to this partition."""
        proposed = self.progress.proposed_generation
        return max(self.progress.generation, proposed if proposed <= self.published else 0)

    @property
    def trimmable(self) -> tuple[int, ...]:
        """Versions in the store's outbox that are already in Kafka."""
        return tuple(version for version in self.in_outbox if version <= self.published)

    def learned_in(self, generation: int) -> MiniBatchKMeans | None:
        """Return the estimator of a generation, None until all customers are scored in it."""
        if self.progress.swept_generation < generation:
            return None
        return self.estimators.get(generation) or estimator()

    def committed(self, progress: Checkpoint, entry: Entry | None) -> "PartitionState":
        """Return the state after a commit that trims published versions and adds any ``entry``."""
        added = (entry,) if entry else ()
        kept = (version for version in self.in_outbox if version > self.published)
        return replace(
            self,
            progress=progress,
            unpublished=(*self.unpublished, *added),
            in_outbox=(*kept, *(each.version for each in added)),
        )

    def portion(self, most_bytes: int) -> "Portion":
        """Return the oldest unpublished versions: at least one, and at most ``most_bytes``.

        The whole outbox carries the offsets of the last commit; a part carries those of its last
        version.
        """
        entries = self.unpublished
        size, cut = 0, 0
        for number, entry in enumerate(entries, 1):
            size += entry.size
            if cut and size > most_bytes:
                last = entries[cut - 1]
                return self._portion(entries[:cut], last.version, last.offsets)
            if entry.offsets is not None:
                cut = number
        return self._portion(entries, self.progress.version, self.progress.offsets)

    def _portion(
        self, entries: Sequence[Entry], version: int, offsets: Offsets | None
    ) -> "Portion":
        outputs = [output for entry in entries for output in entry.outputs]
        metadata = self.progress.metadata_of(version)
        publication = Publication(self.partition, outputs, offsets, metadata)
        return Portion(version, sum(entry.size for entry in entries), publication)

    def confirmed(self, version: int) -> "PartitionState":
        """Return the state with everything up to a version published."""
        later = tuple(each for each in self.unpublished if each.version > version)
        return replace(self, published=version, unpublished=later, offsets_pending=False)


class Portion(NamedTuple):
    """Part of an outbox published in one transaction.

    Attributes
    ----------
    version
        The last version it publishes.
    size
        Approximate size of its outputs in bytes.
    """

    version: int
    size: int
    publication: Publication


def estimator(generation: Generation | None = None, learned: bytes = b"") -> MiniBatchKMeans:
    """Return an estimator over the customers' features.

    Parameters
    ----------
    generation
        The fit; without one, the estimator counts customers assigned by the sum over partitions.
    learned
        Stored statistics of the learned customers; empty for none.
    """
    statistics = ClusterStatistics.from_bytes(learned, CLUSTERS, DIMENSIONS) if learned else None
    return MiniBatchKMeans.of(FEATURES, generation, statistics, n_clusters=CLUSTERS, starts=STARTS)


def decode_estimators(stored: Mapping[int, bytes]) -> dict[int, MiniBatchKMeans]:
    """Return the estimator of each generation from the stored statistics."""
    return {number: estimator(learned=data) for number, data in stored.items()}


def decode_seen(ring: bytes, progress: Checkpoint, size: int) -> DedupWindow | None:
    """Return the dedup window from the store's ring of ``size`` entries, None for a size of 0."""
    return DedupWindow.from_ring(size, progress.remembered, ring) if size else None
