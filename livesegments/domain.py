"""Domain types of the service: configuration, model, partition state, changes and results.

Values only: the stages of a micro-batch take and return them, and every module imports them from
here.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from livesegments.contracts.partitioning import Partitioning
from livesegments.features.dedup import DedupWindow
from livesegments.features.record_codec import RecordShape
from livesegments.features.segmentation import Segmentation
from livesegments.features.window import Tiling
from livesegments.model.cluster_statistics import ClusterStatistics
from livesegments.model.generation import Generation
from livesegments.model.kmeans import MiniBatchKMeans
from livesegments.model.snapshot import ModelSnapshot
from livesegments.store.checkpoint import Checkpoint
from livesegments.store.deployment import Deployment
from livesegments.store.outbox import Entry, Offsets, Publication
from livesegments.store.partitions import Commit


@dataclass(frozen=True, slots=True)
class Hysteresis:
    """Conditions for changing a published segment.

    Attributes
    ----------
    margin
        Fraction by which the new centroid must be nearer than the published segment's, 0..1.
    min_dwell_us
        Minimum time in a segment, in microseconds.
    """

    margin: float
    min_dwell_us: int


@dataclass(frozen=True, slots=True)
class ProcessingConfig:
    """Settings that affect decisions."""

    layout: Tiling
    switching: Hysteresis
    event_clock: bool
    currency: str
    group_id: str
    segmentation: Segmentation
    sweep_chunk: int = 500
    max_changes_per_second: int = 0
    """Maximum rate of segment changes made by a worker's sweeps, per second; 0: unlimited."""
    retention_tiles: int | None = None
    """Tiles after the last purchase before a record is deleted; None: never.

    At least the window's length.
    """
    dedup_events: int = 0
    """Number of purchase ids remembered by a partition; 0: duplicates are counted."""
    consent_required: bool = False
    """Whether a profile must have both consents."""
    partitioning: Partitioning | None = None
    """Partition of each key; None: not checked, as in a backtest, which has one partition."""

    segment_ids: tuple[str, ...] = field(init=False)
    """The ids of the segments, in order."""
    segments: tuple[tuple[str, str], ...] = field(init=False)
    """(id, name) of each segment, in order."""

    def __post_init__(self) -> None:
        segments = tuple((segment.id, segment.name) for segment in self.segmentation.segments)
        object.__setattr__(self, "segments", segments)
        object.__setattr__(self, "segment_ids", self.segmentation.segment_ids)

    @property
    def record_shape(self) -> RecordShape:
        """Shape of the customers' records."""
        segmentation = self.segmentation
        return RecordShape(
            self.layout.tiles, len(segmentation.features), len(segmentation.segments)
        )


def record_shape(deployment: Deployment) -> RecordShape:
    """Return the shape of a deployment's records."""
    return RecordShape(deployment.tiles, len(deployment.features), len(deployment.segments))


def decode_estimators(
    stored: Mapping[int, bytes], segmentation: Segmentation
) -> dict[int, MiniBatchKMeans]:
    """Return the estimator of each generation from the stored statistics."""
    return {number: segmentation.estimator(learned=data) for number, data in stored.items()}


def decode_seen(ring: bytes, checkpoint: Checkpoint, size: int) -> DedupWindow | None:
    """Return the dedup window from the store's ring of ``size`` entries, None for a size of 0."""
    return DedupWindow.from_ring(size, checkpoint.remembered, ring) if size else None


@dataclass(frozen=True, slots=True)
class Model:
    """Model that assigns the customers of a micro-batch.

    Attributes
    ----------
    kmeans
        The fitted estimator, with the known customers of all partitions.
    generation
        The generation of the fit.
    segment_of_cluster
        (k,) segment index of each cluster.
    cluster_of_segment
        (k,) cluster of each segment, the inverse.
    """

    kmeans: MiniBatchKMeans
    generation: Generation
    segment_of_cluster: NDArray[np.int8]
    cluster_of_segment: NDArray[np.int8] = field(init=False)

    def __post_init__(self) -> None:
        inverse = np.argsort(self.segment_of_cluster).astype(np.int8)
        object.__setattr__(self, "cluster_of_segment", inverse)

    @classmethod
    def of(cls, kmeans: MiniBatchKMeans, segment_ids: Sequence[str]) -> "Model":
        """Return the model for an estimator and the deployment's segments."""
        generation = kmeans.generation
        assert generation is not None
        carried = [segment_ids.index(segment) for segment in generation.segments]
        return cls(kmeans, generation, np.array(carried, np.int8))

    @property
    def snapshot(self) -> ModelSnapshot:
        """Centroids and scale."""
        return self.kmeans.snapshot

    @property
    def statistics(self) -> ClusterStatistics:
        """Statistics of the customers in each cluster."""
        return self.kmeans.statistics


class FeatureReason(Struct, frozen=True, gc=False):
    """A feature's part in a change: z-scores now and at the last change, None if not known."""

    feature: str
    direction: str
    z_score: float
    previous_z_score: float
    contribution: float


class OtherParts(Struct, frozen=True, gc=False):
    """Parts in a change that no named feature has; the model's is NaN if not known."""

    model: float
    profile: float


class Change(NamedTuple):
    """Change of a customer's published segment; segments as indexes, -1 for none.

    ``time_us`` is the time of the change and ``since_us`` the start of the segment, microseconds.
    ``explanation`` and ``others`` are those of the contract.
    """

    customer_id: str
    previous: int
    segment: int
    origin: str
    time_us: int
    since_us: int
    confidence: float | None
    distance: float | None
    runner_up: int
    explanation: Sequence[FeatureReason]
    others: OtherParts | None
    marketing: int

    @property
    def kind(self) -> str:
        """assigned, reassigned or unassigned."""
        if self.previous < 0:
            return "assigned"
        return "reassigned" if self.segment >= 0 else "unassigned"


@dataclass(frozen=True, slots=True)
class SegmentStatus:
    """Current segment of a customer and the change it dates from; segment index, -1 for none."""

    customer_id: str
    segment: int
    since_us: int
    version: int
    confidence: float | None
    marketing: int


class Trigger(NamedTuple):
    """Event that triggered a change."""

    event_id: str | None
    topic: str
    partition: int
    offset: int
    arrived_ms: int
    traceparent: bytes | None = None


@dataclass(frozen=True, slots=True)
class Sweep:
    """Sweep over a partition's customers that scores each under a generation and a tile."""

    generation: int
    tile: int
    cursor: int = 0

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
        return self._portion(entries, self.checkpoint.version, self.checkpoint.offsets)

    def _portion(
        self, entries: Sequence[Entry], version: int, offsets: Offsets | None
    ) -> "Portion":
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


def start_sweep(
    state: PartitionState, generation: int, config: ProcessingConfig, now_us: int
) -> PartitionState:
    """Start a sweep if the generation or the clock's tile has advanced since the last one.

    After a recovery a sweep is due even without a model: it publishes pending erasures.
    """
    checkpoint = state.checkpoint
    clock_us = checkpoint.clock_us if config.event_clock else max(checkpoint.clock_us, now_us)
    tile = config.layout.tile(clock_us)
    moved_on = generation > checkpoint.swept_generation or tile > checkpoint.swept_tile
    due = checkpoint.rescore or (generation and moved_on)
    if state.sweep is not None or not due:
        return state
    return replace(state, sweep=Sweep(generation, tile))


def tidy(state: PartitionState, positions: Sequence[int]) -> PartitionResult | None:
    """Return the maintenance commit of an idle partition, None if there is nothing to do.

    It trims published entries from the outbox, as every commit does: they name customers, some of
    whom may have been erased since. It also advances the offsets to ``positions`` where no record
    lies between.
    """
    purchases, profiles, erasures = map(max, state.checkpoint.offsets, positions)
    moved = (purchases, profiles, erasures) != state.checkpoint.offsets
    if not state.trimmable and not moved:
        return None
    checkpoint = replace(
        state.checkpoint,
        version=state.checkpoint.version + 1,
        purchases=purchases,
        profiles=profiles,
        erasures=erasures,
    )
    commit = Commit(state.partition, state.checkpoint, checkpoint, published=state.trimmable)
    return PartitionResult(commit, state.committed(checkpoint, None))


@dataclass(frozen=True, slots=True)
class DriftSample:
    """Distances (n,) to the nearest centroid, and mask (n,) of changed published segments."""

    distances: NDArray[np.float64]
    reassigned: NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class BatchStats:
    """Metric counters of a micro-batch."""

    purchases: int
    older_than_window: int
    erased: int
    held_by_margin: int
    held_by_dwell: int
    dead_letters: list[str]
    changes: list[tuple[str, str, str]]
    """(from segment, to segment, origin); a missing segment is "none"."""
    arrived_ms: list[int]
    """Broker timestamps of the events that triggered changes."""
    watched: list[DriftSample]
    """Drift detector samples of each partition."""
