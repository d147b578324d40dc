"""State of a partition between two commits, with what its owner has still to publish."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from livesegments.domain import ProcessingConfig
from livesegments.features.dedup import DedupWindow
from livesegments.features.segmentation import Segmentation
from livesegments.model.kmeans import MiniBatchKMeans
from livesegments.store.checkpoint import Checkpoint, Offsets
from livesegments.store.outbox import Entry, Publication
from livesegments.store.partitions import Commit


def decode_estimators(
    stored: Mapping[int, bytes], segmentation: Segmentation
) -> dict[int, MiniBatchKMeans]:
    """Return the estimator of each generation from the stored statistics."""
    return {number: segmentation.estimator(learned=data) for number, data in stored.items()}


def decode_seen(ring: bytes, checkpoint: Checkpoint, size: int) -> DedupWindow | None:
    """Return the dedup window from the store's ring of ``size`` entries, None for a size of 0."""
    return DedupWindow.from_ring(size, checkpoint.remembered, ring) if size else None


@dataclass(frozen=True, slots=True)
class Sweep:
    """Sweep over a partition's customers that scores each under a generation and a tile.

    ``again`` tells whether one more is due after it, for customers that it may have passed.
    """

    generation: int
    tile: int
    cursor: int = 0
    again: bool = False

    def after(self, cursor: int | None) -> "Sweep | None":
        """Return the sweep after a scan, None at its end; without a cursor nothing was scanned."""
        if cursor is None:
            return self
        return replace(self, cursor=cursor) if cursor else None


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


@dataclass(frozen=True, slots=True)
class PartitionState:
    """Partition state after its owner's last commit, invalid once a commit is refused.

    Attributes
    ----------
    checkpoint
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
    checkpoint: Checkpoint
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
        proposed = self.checkpoint.proposed_generation
        return max(self.checkpoint.generation, proposed if proposed <= self.published else 0)

    @property
    def trimmable(self) -> tuple[int, ...]:
        """Versions in the store's outbox that are already in Kafka."""
        return tuple(version for version in self.in_outbox if version <= self.published)

    def learned_in(self, generation: int, empty: MiniBatchKMeans) -> MiniBatchKMeans | None:
        """Return the estimator of a generation, None until all customers are scored in it.

        ``empty`` is the estimator of a partition without customers.
        """
        if self.checkpoint.swept_generation < generation:
            return None
        return self.estimators.get(generation, empty)

    def committed(self, checkpoint: Checkpoint, entry: Entry | None) -> "PartitionState":
        """Return the state after a commit that trims published versions and adds any ``entry``."""
        added = (entry,) if entry else ()
        kept = (version for version in self.in_outbox if version > self.published)
        return replace(
            self,
            checkpoint=checkpoint,
            unpublished=(*self.unpublished, *added),
            in_outbox=(*kept, *(each.version for each in added)),
        )

    def commits(
        self,
        checkpoint: Checkpoint,
        entry: Entry | None = None,
        records: Mapping[str, bytes] = {},
    ) -> "PartitionResult":
        """Return the commit of a checkpoint, with any entry for the outbox and customers' records.

        It trims published versions.
        """
        commit = Commit(
            partition=self.partition,
            expected=self.checkpoint,
            checkpoint=checkpoint,
            records=records,
            entry=entry,
            trimmed=self.trimmable,
        )
        return PartitionResult(commit, self.committed(checkpoint, entry))

    def portion(self, most_bytes: int) -> "Portion":
        """Return the oldest unpublished versions: at least one, and at most ``most_bytes``.

        The whole outbox carries the offsets of the last commit; a part carries those of its last
        version.
        """
        entries = self.unpublished
        version = self.checkpoint.version
        offsets: Offsets | None = self.checkpoint.offsets
        size, cut = 0, 0
        for number, entry in enumerate(entries, 1):
            size += entry.size
            if cut and size > most_bytes:
                entries, last = entries[:cut], entries[cut - 1]
                version, offsets = last.version, last.offsets
                break
            if entry.offsets is not None:
                cut = number
        data = [entry.data for entry in entries]
        metadata = self.checkpoint.metadata_of(version)
        publication = Publication(self.partition, data, offsets, metadata)
        return Portion(version, sum(entry.size for entry in entries), publication)

    def confirmed(self, version: int) -> "PartitionState":
        """Return the state with everything up to a version published."""
        later = tuple(each for each in self.unpublished if each.version > version)
        return replace(self, published=version, unpublished=later, offsets_pending=False)


@dataclass(frozen=True, slots=True)
class PartitionResult:
    """Commit of one partition, with the partition's state once it is accepted.

    Without a commit there is nothing to write; only the state in memory changes.
    """

    commit: Commit | None
    state: PartitionState


def current_tile(checkpoint: Checkpoint, config: ProcessingConfig, now_us: int) -> int:
    """Return the tile of a partition's clock."""
    if config.event_clock:
        return config.layout.tile(checkpoint.clock_us)
    return config.layout.tile(max(checkpoint.clock_us, now_us))


def start_sweep(
    state: PartitionState, generation: int, config: ProcessingConfig, now_us: int
) -> PartitionState:
    """Start a sweep if the generation or the clock's tile has advanced since the last one.

    Without a model it publishes pending erasures after a recovery, and removes the customers whose
    retention is over.
    """
    checkpoint = state.checkpoint
    tile = current_tile(checkpoint, config, now_us)
    expires = config.retention_tiles is not None and checkpoint.purchases > 0
    moved_on = tile > checkpoint.swept_tile and (generation > 0 or expires)
    due = checkpoint.rescore or generation > checkpoint.swept_generation or moved_on
    if state.sweep is not None or not due:
        return state
    return replace(state, sweep=Sweep(generation, tile))
