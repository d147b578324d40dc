"""Processing configuration, model snapshot and counters of a micro-batch."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from livesegments.consumers.decoding import PartitionBatch
from livesegments.consumers.drift_sample import DriftSample
from livesegments.consumers.partition_state import PartitionState, Sweep
from livesegments.consumers.scoring import Hysteresis
from livesegments.features.erasures import marker_key
from livesegments.features.tiling import Tiling
from livesegments.model.cluster_statistics import ClusterStatistics
from livesegments.model.generation import Generation
from livesegments.model.kmeans import MiniBatchKMeans
from livesegments.model.personas import Persona
from livesegments.model.snapshot import ModelSnapshot
from livesegments.store.partitions import Commit, ReadRequest


class UnknownSegmentError(RuntimeError):
    """Published segment that is not configured in this deployment."""

    @classmethod
    def check(cls, published: Iterable[str], known: Sequence[str]) -> None:
        """Raise for the first segment that is not known."""
        for segment in published:
            if segment not in known:
                raise cls(segment, known)

    def __init__(self, segment: str, known: Sequence[str]) -> None:
        super().__init__(
            f"segment {segment!r} is published already, and the segments here are"
            f" {', '.join(known)}: ids never change. Set them back (LIVESEGMENTS_PERSONAS_FILE);"
            " names, descriptions and positions may change. For other segments delete the output"
            " topics (customer-segments.v1, segment-changes.v1, segment-definitions.v1) and use"
            " another LIVESEGMENTS_GROUP_ID"
        )


@dataclass(frozen=True, slots=True)
class ProcessingConfig:
    """Settings that affect decisions."""

    layout: Tiling
    switching: Hysteresis
    event_clock: bool
    currency: str
    group_id: str
    personas: tuple[Persona, ...]
    """Personas by segment index."""
    sweep_chunk: int = 500
    max_changes_per_second: int = 0
    """Maximum rate of segment changes made by a worker's sweeps, per second; 0: unlimited."""
    retention_tiles: int | None = None
    """Tiles after the last purchase before a record is deleted; None: never.

    At least the window's length.
    """
    dedup_events: int = 0
    """Number of purchase ids remembered by a partition; 0: duplicates are counted."""

    @property
    def segment_ids(self) -> tuple[str, ...]:
        """The ids of the segments, in order."""
        return tuple(persona.id for persona in self.personas)

    @property
    def segments(self) -> tuple[tuple[str, str], ...]:
        """(id, name) of each segment, in order."""
        return tuple((persona.id, persona.name) for persona in self.personas)


@dataclass(frozen=True, slots=True)
class Model:
    """Model that assigns the customers of a micro-batch.

    Attributes
    ----------
    kmeans
        The fitted estimator, with the known customers of all partitions.
    segment_of_cluster
        (k,) segment index of each cluster.
    """

    kmeans: MiniBatchKMeans
    segment_of_cluster: NDArray[np.int8]

    @classmethod
    def of(cls, kmeans: MiniBatchKMeans, segment_ids: Sequence[str]) -> "Model":
        """Return the model for an estimator and the deployment's segments."""
        assert kmeans.generation is not None
        carried = [segment_ids.index(segment) for segment in kmeans.generation.segments]
        return cls(kmeans, np.array(carried, np.int8))

    @property
    def generation(self) -> Generation:
        """The generation of the fit."""
        assert self.kmeans.generation is not None
        return self.kmeans.generation

    @property
    def snapshot(self) -> ModelSnapshot:
        """Centroids and scale."""
        return self.kmeans.snapshot

    @property
    def statistics(self) -> ClusterStatistics:
        """Statistics of the customers in each cluster."""
        return self.kmeans.statistics


@dataclass(slots=True)
class BatchStats:
    """Metric counters of a micro-batch."""

    purchases: int = 0
    older_than_window: int = 0
    erased: int = 0
    held_by_margin: int = 0
    held_by_dwell: int = 0
    dead_letters: list[str] = field(default_factory=list)
    changes: list[tuple[str, str, str]] = field(default_factory=list)
    """(from segment, to segment, origin); a missing segment is "none"."""
    arrived_ms: list[int] = field(default_factory=list)
    """Broker timestamps of the events that triggered changes."""
    watched: list[DriftSample] = field(default_factory=list)
    """Drift detector samples of each partition."""


@dataclass(frozen=True, slots=True)
class PartitionResult:
    """Commit of one partition, with the partition's state once it is accepted.

    Without a commit there is nothing to write; only the state in memory changes.
    """

    commit: Commit | None
    owned: PartitionState


def start_sweep(
    owned: PartitionState, generation: int, rules: ProcessingConfig, now_us: int
) -> PartitionState:
    """Start a sweep if the generation or the clock's tile has advanced since the last one.

    After a recovery a sweep is due even without a model: it publishes pending erasures.
    """
    progress = owned.progress
    clock_us = progress.clock_us if rules.event_clock else max(progress.clock_us, now_us)
    tile = rules.layout.tile(clock_us)
    moved_on = generation > progress.swept_generation or tile > progress.swept_tile
    due = progress.rescore or (generation and moved_on)
    if owned.sweep is not None or not due:
        return owned
    return replace(owned, sweep=Sweep(generation, tile))


def tidy(owned: PartitionState, positions: Sequence[int]) -> PartitionResult | None:
    """Return the maintenance commit of an idle partition, None if there is nothing to do.

    It trims published entries from the outbox, as every commit does: they name customers, some of
    whom may have been erased since. It also advances the offsets to ``positions`` where no record
    lies between.
    """
    purchases, profiles, erasures = map(max, owned.progress.offsets, positions)
    moved = (purchases, profiles, erasures) != owned.progress.offsets
    if not owned.trimmable and not moved:
        return None
    progress = replace(
        owned.progress,
        version=owned.progress.version + 1,
        purchases=purchases,
        profiles=profiles,
        erasures=erasures,
    )
    commit = Commit(owned.partition, owned.progress, progress, published=owned.trimmable)
    return PartitionResult(commit, owned.committed(progress, None))


def want(
    owned: PartitionState,
    part: PartitionBatch | None,
    rules: ProcessingConfig,
    *,
    walk: bool = True,
) -> ReadRequest:
    """Return the read request of a partition; ``walk`` allows its sweep to advance."""
    customers = list(part.customers) if part else []
    remembered = owned.erasures > 0 or bool(part and part.erasures.stop > part.erasures.start)
    return ReadRequest(
        partition=owned.partition,
        customers=customers,
        erasures=[marker_key(name, rules.group_id) for name in customers] if remembered else (),
        scan=(owned.sweep.cursor, rules.sweep_chunk) if owned.sweep and walk else None,
    )
