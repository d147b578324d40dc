"""The page of the segments: sizes, centroids, moves between them, drift."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import duckdb
import numpy as np

from livesegments.analysis.drift import drift_since_fit
from livesegments.analysis.segments import describe
from livesegments.analysis.survey.context import DeploymentContext
from livesegments.analysis.transitions import NONE, TransitionCounts
from livesegments.model.drift import psi
from livesegments.model.naming import positions
from livesegments.model.vectors import Counts
from livesegments.rendering.formats import known, named

HOUR_S, DAY_S = 3_600, 86_400


@dataclass(frozen=True, slots=True)
class Period:
    """Hours or days up to the newest one: their length, and their numbers since the epoch."""

    seconds: int
    steps: range

    @classmethod
    def until(cls, clock_us: int, steps: int, seconds: int = DAY_S) -> "Period":
        """Return so many steps up to that of a time."""
        last = clock_us // 1_000_000 // seconds
        return cls(seconds, range(last - steps + 1, last + 1))

    @property
    def start_us(self) -> int:
        """Start of the first one."""
        return self.steps.start * self.seconds * 1_000_000

    def labels(self, steps: range) -> list[str]:
        """Return the date of each step, with the hour if a step is one."""
        starts = (np.array(steps) * self.seconds).astype("M8[s]")
        unit: Literal["D", "h"] = "D" if self.seconds == DAY_S else "h"
        found: list[str] = np.datetime_as_string(starts, unit=unit).tolist()
        return found


def segments_page(
    connection: duckdb.DuckDBPyConnection,
    context: DeploymentContext,
    period: Period,
    sizes: Mapping[str, int],
    binned: list[Counts],
) -> dict[str, Any]:
    """Return the page from the history, the segments' ``sizes`` now and a survey's ``binned``.

    The distribution of each feature in the bins of the fit may be empty. Segments are named by id,
    ``none`` for no segment.

    Returns
    -------
    ``customers``
        In a segment.
    ``segments``
        See `livesegments.analysis.segments.Segment`, by falling spend.
    ``places``, ``expected``
        Segment -> feature -> position of its centroid and of its persona, in standard deviations
        from the average customer; position of the persona in natural units.
    ``days``, ``sizes``, ``moves``
        Steps of the period since the first assignment; sizes of each segment at their end; moves
        out of a segment by origin.
    ``transitions``
        From segment -> to segment -> changes in the period.
    ``drift``
        Since the fit of the generation: the shift of each centroid, standard deviations per
        feature; the population stability index of the sizes and of each feature, each with its
        noise level.
    """
    segmentation, ids = context.rules.segmentation, context.rules.segment_ids
    counts = moves(connection, ids, period)
    now = [sizes.get(each, 0) for each in ids]
    steps = counts.since_first(period.steps, now)
    view = context.model.snapshot
    scale = np.where(view.weights > 0, view.std, np.nan)
    places = segmentation.natural(view.mean + positions(segmentation.segments) * scale)
    return {
        "customers": sum(now),
        "segments": describe(context.model, segmentation, dict(zip(ids, now, strict=True))),
        "places": _places(context),
        "expected": {
            each: named(segmentation.feature_names, row)
            for each, row in zip(ids, places, strict=True)
        },
        "days": period.labels(steps),
        "sizes": counts.sizes(steps, now),
        "moves": counts.by_day(steps),
        "transitions": counts.transitions(),
        "drift": _drift(context, binned),
    }


def sizes_now(connection: duckdb.DuckDBPyConnection, table: str = "customers") -> dict[str, int]:
    """Return the number of customers in each segment, from a table of customers."""
    return dict(
        connection.execute(
            f"SELECT segment, count(*) FROM {table} WHERE segment IS NOT NULL GROUP BY segment"
        ).fetchall()
    )


def moves(
    connection: duckdb.DuckDBPyConnection, ids: tuple[str, ...], period: Period
) -> TransitionCounts:
    """Count the moves of a period; later ones count in its last step."""
    counts = TransitionCounts(ids)
    found = connection.execute(
        "SELECT least(epoch(hour)::BIGINT // $seconds, $last) AS step, previous, segment, origin,"
        " sum(changes)::BIGINT FROM moves WHERE step >= $first GROUP BY ALL",
        {"seconds": period.seconds, "first": period.steps[0], "last": period.steps[-1]},
    ).fetchall()
    for step, before, after, origin, n in found:
        move = (step, before if before in ids else NONE, after if after in ids else NONE, origin)
        counts.moves[move] += n
    return counts


def _places(context: DeploymentContext) -> dict[str, dict[str, tuple[float | None, float]]]:
    generation, statistics = context.model.generation, context.statistics
    features = context.rules.segmentation.feature_names
    now = generation.centroids if statistics is None else statistics.centroids()
    stands = dict(zip(generation.segments, context.model.snapshot.zscores(now), strict=True))
    return {
        segment.id: {
            name: (z, expected_z)
            for (name, z), expected_z in zip(
                named(features, stands[segment.id], 3).items(), segment.position, strict=True
            )
        }
        for segment in context.rules.segmentation.segments
    }


def _drift(context: DeploymentContext, binned: list[Counts]) -> dict[str, Any]:
    generation = context.model.generation
    found = drift_since_fit(generation, context.statistics)
    features = context.rules.segmentation.feature_names
    bins = zip(features, generation.histograms, binned, strict=False)
    return {
        "generation": generation.number,
        "provisional": generation.provisional,
        "fitted_on": sum(generation.sizes),
        "shift": named(generation.segments, found.shift),
        "explained_variance": known(found.explained_variance),
        "share_psi": (known(found.share_psi), known(found.share_psi_critical)),
        "feature_psi": {
            name: (
                known(psi(np.array(fit.counts), counts)),
                known(fit.psi_critical_value(int(counts.sum()))),
            )
            for name, fit, counts in bins
        },
    }
