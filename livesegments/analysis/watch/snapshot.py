"""The state of a deployment at one moment, as the live view shows it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import numpy as np

from livesegments.analysis.drift import drift_since_fit, known
from livesegments.analysis.watch.pollers import GroupStatus, StoreStatus, TopicsStatus
from livesegments.analysis.watch.transition_window import Transition, TransitionCounts
from livesegments.contracts.segments import Centroid, SegmentChange
from livesegments.features.feature_specs import FEATURES, natural
from livesegments.model.cluster_statistics import ClusterStatistics
from livesegments.model.generation import Generation
from livesegments.model.personas import Persona
from livesegments.model.types import Floats
from livesegments.rendering.terminal import SegmentRow


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The state at one moment; None: unknown.

    Attributes
    ----------
    at, began
        Time of the snapshot, and of the start of the watch.
    segments
        With the customers nearest to each centroid.
    records
        Customers with a record, in a segment or not.
    psi, psi_critical
        Population stability index of the shares since the fit, and its noise level.
    troubles
        Current outages.
    """

    group_id: str
    at: datetime
    began: datetime
    segments: tuple[SegmentRow, ...]
    records: int | None = None
    currency: str | None = None
    generation: int | None = None
    provisional: bool = False
    psi: float | None = None
    psi_critical: float | None = None
    explained_variance: float | None = None
    moves: TransitionCounts | None = None
    workers: int | None = None
    lag: int | None = None
    recovering: int | None = None
    troubles: tuple[str, ...] = field(default=())

    @property
    def counted(self) -> int:
        """Customers in a segment's cluster."""
        return sum(row.customers for row in self.segments)

    @property
    def newest(self) -> Sequence[SegmentChange]:
        """Changes, newest first."""
        return self.moves.newest if self.moves else ()

    def to_dict(self) -> dict[str, Any]:
        """Return it for JSON."""
        moves = self.moves
        return {
            "at": _text(self.at),
            "group": self.group_id,
            "segments": [
                {
                    "id": row.id,
                    "name": row.name,
                    "customers": row.customers,
                    "share": None if row.share is None else round(row.share, 4),
                    "centroid": row.centroid and row.centroid.model_dump(),
                    "shift": None if row.shift is None else round(row.shift, 4),
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
                "generation": self.generation,
                "provisional": self.provisional,
                "segment_share_psi": self.psi,
                "segment_share_psi_critical": self.psi_critical,
                "explained_variance": self.explained_variance,
            },
            "workers": self.workers,
            "lag": self.lag,
            "recovering": self.recovering,
            "troubles": list(self.troubles),
        }


def snapshot(
    group_id: str,
    at_s: float,
    began_s: float,
    personas: Sequence[Persona],
    topics: TopicsStatus | None,
    store: StoreStatus | None,
    group: GroupStatus | None,
    troubles: Sequence[str] = (),
) -> Snapshot:
    """Combine the latest statuses.

    Sizes and centroids come from the store's statistics, which are exact; without a store from the
    definitions, which are some seconds old.
    """
    generation = topics.generation if topics else None
    if store is not None and store.generation is not None:
        generation = store.generation
    statistics = store.statistics if store else None
    figures: dict[str, float | None] = {}
    if generation is not None and statistics is not None and statistics.members.any():
        drift = drift_since_fit(generation, statistics)
        figures = {
            "psi": known(drift.share_psi),
            "psi_critical": known(drift.share_psi_critical),
            "explained_variance": known(drift.explained_variance),
        }
    return Snapshot(
        group_id=group_id,
        at=datetime.fromtimestamp(at_s, UTC),
        began=datetime.fromtimestamp(began_s, UTC),
        segments=_rows(personas, topics, generation, statistics),
        records=store.records if store else None,
        currency=store.currency if store else None,
        generation=generation.number if generation else None,
        provisional=generation.provisional if generation else False,
        moves=topics.moves if topics else None,
        workers=group.workers if group else None,
        lag=group.lag if group else None,
        recovering=store.recovering if store else None,
        troubles=tuple(troubles),
        **figures,
    )


def _rows(
    personas: Sequence[Persona],
    topics: TopicsStatus | None,
    generation: Generation | None,
    statistics: ClusterStatistics | None,
) -> tuple[SegmentRow, ...]:
    definitions = topics.definitions if topics else {}
    sizes = {each.id: each.size for each in definitions.values()}
    centroids: dict[str, Centroid | None] = {i: each.centroid for i, each in definitions.items()}
    shifts: dict[str, float] = {}
    if generation is not None and statistics is not None:
        sizes = dict(zip(generation.segments, statistics.members.tolist(), strict=True))
        means = natural(statistics.centroids())
        centroids = {s: _centroid(row) for s, row in zip(generation.segments, means, strict=True)}
        found = drift_since_fit(generation, statistics).shift
        named = zip(generation.segments, found.tolist(), strict=True)
        shifts = {segment: shift for segment, shift in named if not np.isnan(shift)}
    total = sum(sizes.values())
    return tuple(
        SegmentRow(
            id=persona.id,
            name=persona.name,
            customers=sizes.get(persona.id, 0),
            share=sizes.get(persona.id, 0) / total if total else None,
            centroid=centroids.get(persona.id),
            shift=shifts.get(persona.id),
        )
        for persona in personas
    )


def _centroid(row: Floats) -> Centroid:
    means = {n: None if np.isnan(v) else v for n, v in zip(FEATURES, row.tolist(), strict=True)}
    return Centroid(**means)


def _matrix(moves: Mapping[Transition, int]) -> list[dict[str, Any]]:
    return [
        {"from": before, "to": after, "changes": count}
        for (before, after), count in sorted(moves.items(), key=lambda each: -each[1])
    ]


def _text(moment: datetime) -> str:
    return moment.isoformat(timespec="seconds").replace("+00:00", "Z")
