"""Domain types of the service: configuration, model, partition state, changes and results.

Values only: the stages of a micro-batch take and return them, and every module imports them from
here.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from livesegments.contracts.partitioning import Partitioning
from livesegments.features.record_codec import RecordShape
from livesegments.features.segmentation import Segmentation
from livesegments.features.window import Tiling
from livesegments.model.cluster_statistics import ClusterStatistics
from livesegments.model.generation import Generation
from livesegments.model.kmeans import MiniBatchKMeans
from livesegments.model.snapshot import ModelSnapshot
from livesegments.store.deployment import Deployment


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
    record_shape: RecordShape = field(init=False)
    """Shape of the customers' records."""

    def __post_init__(self) -> None:
        of = self.segmentation
        shape = RecordShape(self.layout.tiles, len(of.features), len(of.segments))
        segments = tuple((segment.id, segment.name) for segment in of.segments)
        object.__setattr__(self, "segments", segments)
        object.__setattr__(self, "segment_ids", of.segment_ids)
        object.__setattr__(self, "record_shape", shape)


def record_shape(deployment: Deployment) -> RecordShape:
    """Return the shape of a deployment's records."""
    return RecordShape(deployment.tiles, len(deployment.features), len(deployment.segments))


@dataclass(frozen=True, slots=True)
class Model:
    """Model that assigns the customers of a micro-batch.

    Attributes
    ----------
    kmeans
        The fitted estimator, with the known customers of all partitions.
    generation, statistics, snapshot
        Its fit, the statistics of the customers in each cluster, and centroids and scale.
    segment_of_cluster
        (k,) segment index of each cluster.
    cluster_of_segment
        (k,) cluster of each segment, the inverse.
    """

    kmeans: MiniBatchKMeans
    generation: Generation
    statistics: ClusterStatistics
    snapshot: ModelSnapshot
    segment_of_cluster: NDArray[np.int8]
    cluster_of_segment: NDArray[np.int8]

    @classmethod
    def of(cls, kmeans: MiniBatchKMeans, segment_ids: Sequence[str]) -> "Model":
        """Return the model for an estimator and the deployment's segments."""
        generation = kmeans.generation
        assert generation is not None
        carried = np.array([segment_ids.index(each) for each in generation.segments], np.int8)
        return cls(
            kmeans=kmeans,
            generation=generation,
            statistics=kmeans.statistics,
            snapshot=kmeans.snapshot,
            segment_of_cluster=carried,
            cluster_of_segment=np.argsort(carried).astype(np.int8),
        )

    def means(self) -> NDArray[np.float64]:
        """Return the means of the clusters' customers, (k, d); NaN where a feature is unknown.

        A cluster without customers keeps its fitted centroid.
        """
        occupied = self.statistics.members > 0
        return np.where(occupied[:, None], self.statistics.centroids(), self.generation.centroids)


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
