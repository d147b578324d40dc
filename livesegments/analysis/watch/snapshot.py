"""The state of a deployment at one moment, as the live view shows it."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from typing import Any

import numpy as np

from livesegments.analysis.drift import DriftSinceFit, drift_since_fit
from livesegments.analysis.segments import describe, naming
from livesegments.analysis.watch.transition_window import RecentTransitions, Transition
from livesegments.contracts.segments import SegmentChange, SegmentDefinition
from livesegments.domain import Model
from livesegments.features.segmentation import Segmentation
from livesegments.model.cluster_statistics import ClusterStatistics
from livesegments.model.generation import Generation
from livesegments.rendering.formats import is_doubted, known, named, percent
from livesegments.rendering.terminal import SegmentRow


@dataclass(frozen=True)
class Snapshot:
    """The state at one moment; None: unknown.

    Attributes
    ----------
    at, began
        Time of the snapshot, and of the start of the watch.
    definitions
        Newest definition of each segment, some seconds old.
    generation, statistics
        The current model; no statistics while partitions are in different generations.
    records
        Customers with a record, in a segment or not.
    recovering
        Partitions under recovery.
    lag
        Input records that the workers have not committed, by offsets: transaction markers are
        included.
    troubles
        Current outages.
    """

    group_id: str
    at: datetime
    began: datetime
    segmentation: Segmentation
    moves: RecentTransitions | None = None
    definitions: Mapping[str, SegmentDefinition] = field(default_factory=dict)
    generation: Generation | None = None
    statistics: ClusterStatistics | None = None
    records: int | None = None
    currency: str | None = None
    recovering: int | None = None
    workers: int | None = None
    lag: int | None = None
    troubles: tuple[str, ...] = ()

    @property
    def counted(self) -> int:
        """Customers in a segment's cluster."""
        return sum(row.customers for row in self.segments)

    @property
    def doubted(self) -> frozenset[str]:
        """Ids of segments whose customers are far from what the name says."""
        return frozenset(row.id for row in self.segments if is_doubted(row.persona_distance))

    @property
    def names(self) -> list[str]:
        """Notes about the segments' names: the features behind them, and names that do not suit."""
        if self.generation is None or self.statistics is None:
            return []
        statistics = self.statistics
        estimator = self.segmentation.estimator(self.generation, statistics.to_bytes())
        model = Model.of(estimator, self.segmentation.segment_ids)
        sizes = dict.fromkeys(self.segmentation.segment_ids, 0)
        known = statistics.known.sum(axis=0) / max(int(statistics.members.sum()), 1)
        some = [
            f"{name} of {percent(share)}"
            for name, share in zip(self.segmentation.feature_names, known.tolist(), strict=True)
            if 0 < share < 1
        ]
        notes = naming(describe(model, self.segmentation, sizes))
        return [*notes, f"Known is the {', the '.join(some)}."] if some else notes

    @property
    def newest(self) -> Sequence[SegmentChange]:
        """Changes, newest first."""
        return self.moves.newest if self.moves else ()

    @property
    def provisional(self) -> bool:
        """True if the generation was fitted while windows were filling."""
        return self.generation is not None and self.generation.provisional

    @property
    def number(self) -> int | None:
        """Number of the generation."""
        return None if self.generation is None else self.generation.number

    @cached_property
    def drift(self) -> DriftSinceFit:
        """Drift of the model; unknown, and no shifts, without customers in its clusters."""
        statistics = self.statistics
        if self.generation is None or statistics is None or not statistics.members.any():
            return DriftSinceFit(np.empty(0), np.nan, np.nan, np.nan)
        return drift_since_fit(self.generation, statistics)

    @cached_property
    def segments(self) -> list[SegmentRow]:
        """Segments with the customers nearest to each centroid.

        Sizes and centroids come from the store's statistics, which are exact; without a store from
        the definitions.
        """
        sizes = {each.id: each.size for each in self.definitions.values()}
        centroids: dict[str, Any] = {
            segment: each.centroid.model_dump() for segment, each in self.definitions.items()
        }
        if self.generation is not None and self.statistics is not None:
            ids = self.generation.segments
            sizes = dict(zip(ids, self.statistics.members.tolist(), strict=True))
            means = self.segmentation.natural(self.statistics.centroids())
            names = self.segmentation.feature_names
            centroids = {i: named(names, row, 12) for i, row in zip(ids, means, strict=True)}
        shifts: dict[str, float | None] = {}
        if self.generation is not None and len(self.drift.shift):
            shifts = named(self.generation.segments, self.drift.shift, 12)
        distances = {each.id: each.persona_distance for each in self.definitions.values()}
        total = sum(sizes.values())
        return [
            SegmentRow(
                id=segment.id,
                name=segment.name,
                customers=sizes.get(segment.id, 0),
                share=sizes.get(segment.id, 0) / total if total else None,
                centroid=centroids.get(segment.id),
                shift=shifts.get(segment.id),
                persona_distance=distances.get(segment.id),
            )
            for segment in self.segmentation.segments
        ]

    def to_dict(self) -> dict[str, Any]:
        """Return it for JSON."""
        moves, drift = self.moves, self.drift
        return {
            "at": _text(self.at),
            "group": self.group_id,
            "segments": [
                asdict(row)
                | {
                    "share": None if row.share is None else known(row.share),
                    "shift": None if row.shift is None else known(row.shift),
                }
                for row in self.segments
            ],
            "records": self.records,
            "changes": moves
            and {
                "per_second": dict(moves.per_second),
                "last_hour": _matrix(moves.last_hour),
                "last_hour_since": _text(datetime.fromtimestamp(moves.since_s, UTC)),
                "since_start": _matrix(moves.since_start),
                "started": _text(self.began),
                "skipped": moves.skipped,
                "newest": moves.newest[0].model_dump(mode="json") if moves.newest else None,
            },
            "model": {
                "generation": self.number,
                "provisional": self.provisional,
                "segment_share_psi": known(drift.share_psi),
                "segment_share_psi_critical": known(drift.share_psi_critical),
                "explained_variance": known(drift.explained_variance),
            },
            "workers": self.workers,
            "lag": self.lag,
            "recovering": self.recovering,
            "troubles": list(self.troubles),
        }


def _matrix(moves: Mapping[Transition, int]) -> list[dict[str, Any]]:
    return [
        {"from": before, "to": after, "changes": count}
        for (before, after), count in sorted(moves.items(), key=lambda each: -each[1])
    ]


def _text(moment: datetime) -> str:
    return moment.isoformat(timespec="seconds").replace("+00:00", "Z")
