"""The page of the model: its generations, and the changes between them."""

from dataclasses import dataclass
from datetime import datetime

import duckdb

from livesegments.consumers.modelling.definitions import to_generation
from livesegments.contracts.segments import SegmentDefinition
from livesegments.features.segmentation import Segmentation
from livesegments.model.distance import feature_weights
from livesegments.model.drift import centroid_shift
from livesegments.model.generation import Generation
from livesegments.rendering.formats import marked, named

SHOWN = 12

_GENERATIONS = f"""
SELECT generation, min(first_published_at) AS at, list(value) AS definitions
FROM definitions GROUP BY generation ORDER BY generation DESC LIMIT {SHOWN} + 1
"""
_MOVED = """
SELECT generation, count(*) FROM changes WHERE origin = 'model' AND generation >= ? GROUP BY ALL
"""


@dataclass(frozen=True, slots=True)
class FittedSegment:
    """A segment as a generation was fitted.

    Attributes
    ----------
    customers
        Customers of the fit in its cluster.
    centroid
        Feature -> initial centroid, in natural units.
    shift
        Distance from its centroid in the generation before, in standard deviations per feature;
        None in the first one.
    """

    name: str
    customers: int
    centroid: dict[str, float | None]
    shift: float | None


@dataclass(frozen=True, slots=True)
class GenerationRow:
    """A generation of the model.

    Attributes
    ----------
    published_at
        When it was first seen.
    provisional
        Whether it was fitted while windows were filling.
    moved
        Customers that it moved to another segment.
    """

    number: int
    published_at: datetime
    provisional: bool
    moved: int
    segments: list[FittedSegment]


def generations(
    connection: duckdb.DuckDBPyConnection, segmentation: Segmentation
) -> list[GenerationRow]:
    """Return the newest generations, newest first."""
    found = [
        (at, [SegmentDefinition.model_validate_json(each) for each in definitions])
        for _, at, definitions in connection.execute(_GENERATIONS).fetchall()
    ]
    fits = [to_generation(definitions) for _, definitions in found]
    moved = dict(connection.execute(_MOVED, [fits[-1].number if fits else 0]).fetchall())
    befores: list[Generation | None] = [*fits[1:], None]
    marks = [
        {each.id: marked(each.name, each.persona_distance) for each in definitions}
        for _, definitions in found
    ]
    return [
        GenerationRow(
            fit.number,
            at,
            fit.provisional,
            moved.get(fit.number, 0),
            _fitted(fit, before, names, segmentation),
        )
        for (at, _), fit, before, names in zip(found, fits, befores, marks, strict=True)
    ][:SHOWN]


def _fitted(
    fit: Generation,
    before: Generation | None,
    names: dict[str, str],
    segmentation: Segmentation,
) -> list[FittedSegment]:
    centroids = segmentation.natural(fit.centroids)
    shift: dict[str, float | None] = {}
    if before is not None and set(before.segments) == set(fit.segments):
        order = [before.segments.index(each) for each in fit.segments]
        weights = feature_weights(fit.variance)
        moves = centroid_shift(fit.centroids, before.centroids[order], weights)
        shift = named(fit.segments, moves, 2)
    return [
        FittedSegment(
            names[segment], size, named(segmentation.feature_names, row), shift.get(segment)
        )
        for segment, size, row in zip(fit.segments, fit.sizes, centroids, strict=True)
    ]
