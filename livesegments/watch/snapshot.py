"""All that is known of a deployment at one moment, however it is shown."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import numpy as np

from contracts.segments import Centroid, SegmentChange
from features.vector import FEATURES, natural
from livesegments.demo_picture import SegmentRow
from livesegments.watch.looks import GroupSeen, StoreSeen, TopicsSeen
from livesegments.watch.moves import Move, MovesSeen
from model import drift
from model.cluster_statistics import ClusterStatistics
from model.distance import feature_weights
from model.generation import Generation
from model.personas import Persona
from model.snapshot import ModelSnapshot
from monitoring.drift_report import LEAST_KNOWN


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One moment; None is not known.

    Attributes
    ----------
    at, began
        Now, and when the watch began.
    segments
        The five, with the customers now nearest to their centroid.
    records
        Customers of whom a record is kept, also those in no segment.
    psi, psi_critical
        How far the shares are from those at the fit, and what is noise.
    troubles
        What cannot be seen, and why.
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
    moves: MovesSeen | None = None
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
    topics: TopicsSeen | None,
    store: StoreSeen | None,
    group: GroupSeen | None,
    troubles: Sequence[str] = (),
) -> Snapshot:
    """Put together what was seen last.

    Sizes and centroids are those of the store's statistics, which are exact; without a store those
    of the definitions, which are some seconds old.
    """
    generation = topics.generation if topics else None
    if store is not None and store.generation is not None:
        generation = store.generation
    statistics = store.statistics if store else None
    figures: dict[str, Any] = {}
    if generation is not None and statistics is not None and statistics.members.any():
        figures = _drift(generation, statistics)
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
    topics: TopicsSeen | None,
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
        shifts = _shifts(generation, statistics)
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


def _centroid(row: np.ndarray[tuple[int], np.dtype[np.float64]]) -> Centroid:
    known = {n: None if np.isnan(v) else v for n, v in zip(FEATURES, row.tolist(), strict=True)}
    return Centroid(**known)


def _shifts(generation: Generation, statistics: ClusterStatistics) -> dict[str, float]:
    """How far centroids are from the fit, by what enough customers know, as the metrics have it."""
    settled = np.where(statistics.known >= LEAST_KNOWN, statistics.centroids(), np.nan)
    baseline = ModelSnapshot.of(generation, None).centroids
    found = drift.centroid_shift(settled, baseline, feature_weights(generation.variance))
    return {
        segment: value
        for segment, value in zip(generation.segments, found.tolist(), strict=True)
        if not np.isnan(value)
    }


def _drift(generation: Generation, statistics: ClusterStatistics) -> dict[str, float]:
    view = ModelSnapshot.of(generation, statistics)
    expected, actual = np.array(generation.sizes), statistics.members
    return {
        "psi": round(drift.psi(expected, actual), 4),
        "psi_critical": round(
            drift.psi_critical_value(len(expected), int(expected.sum()), int(actual.sum())), 4
        ),
        "explained_variance": round(drift.explained_variance_ratio(statistics, view.weights), 4),
    }


def _matrix(moves: Mapping[Move, int]) -> list[dict[str, Any]]:
    return [
        {"from": before, "to": after, "changes": count}
        for (before, after), count in sorted(moves.items(), key=lambda each: -each[1])
    ]


def _text(moment: datetime) -> str:
    return moment.isoformat(timespec="seconds").replace("+00:00", "Z")
