"""The page of the model: its generations, and the changes between them."""

from collections.abc import Callable, Collection
from typing import Any

import duckdb
from redis.exceptions import RedisError

from livesegments.analysis.transitions import NONE
from livesegments.config.settings import Settings
from livesegments.consumers.modelling.definitions import complete_generation
from livesegments.contracts.segments import SegmentDefinition
from livesegments.features.segmentation import Segmentation
from livesegments.model.drift import centroid_shift
from livesegments.model.generation import Generation
from livesegments.model.vectors import feature_weights
from livesegments.operations.model_loader import NoModelError
from livesegments.operations.refit import Refit, RefitError
from livesegments.rendering.formats import marked, named

SHOWN = 12

_GENERATIONS = f"""
SELECT generation, strftime(min(first_published_at), '%Y-%m-%d %H:%M:%S UTC') AS first_at,
    list(value) AS definitions
FROM definitions GROUP BY generation ORDER BY generation DESC LIMIT {SHOWN} + 1
"""
_MOVED = """
SELECT generation, count(*) FROM changes WHERE origin = 'model' AND generation >= ? GROUP BY ALL
"""


def generations(
    connection: duckdb.DuckDBPyConnection, segmentation: Segmentation
) -> list[dict[str, Any]]:
    """Return the newest generations, newest first.

    ``published_at`` is when it was first seen, ``moved`` the customers that it moved to another
    segment, by the changes in the history: in a report those of its period. It is ``provisional``
    if it was fitted while windows were filling. ``segments`` are as fitted: customers of the fit,
    initial centroid in natural units, and its ``shift`` since the generation before in standard
    deviations per feature, None in the first one.
    """
    found = []
    for _, at, values in connection.execute(_GENERATIONS).fetchall():
        definitions = [SegmentDefinition.model_validate_json(each) for each in values]
        if fit := complete_generation(definitions, segmentation):  # not compacted in part
            names = {each.id: marked(each.name, each.persona_distance) for each in definitions}
            found.append((fit, at, names))
    moved = dict(connection.execute(_MOVED, [found[-1][0].number if found else 0]).fetchall())
    befores = [*(fit for fit, *_ in found), None][1:]
    return [
        {
            "number": fit.number,
            "published_at": at,
            "provisional": fit.provisional,
            "moved": moved.get(fit.number, 0),
            "segments": _fitted(fit, before, names, segmentation),
        }
        for (fit, at, names), before in zip(found, befores, strict=True)
    ][:SHOWN]


def preview(
    settings: Settings, names: Collection[str], explain: Callable[[Exception], str]
) -> dict[str, Any]:
    """Return what a refit would change now.

    ``preview`` is that of ``livesegments refit --dry-run``, ``moves`` maps segment before ->
    segment after -> customers, of ``names``; both are empty if there is ``trouble``.
    """
    try:
        found = Refit(settings, lambda _: None).propose().found
    except (RefitError, NoModelError, RedisError, OSError, RuntimeError) as error:
        return {"trouble": explain(error), "preview": {}, "moves": {}}
    moves = {each: dict.fromkeys(names, 0) for each in names}
    for each in found["moves"]:
        moves[each["from"] or NONE][each["to"] or NONE] = each["customers"]
    return {"trouble": "", "preview": found, "moves": moves}


def _fitted(
    fit: Generation, before: Generation | None, names: dict[str, str], segmentation: Segmentation
) -> list[dict[str, Any]]:
    centroids = segmentation.natural(fit.centroids)
    shift: dict[str, float | None] = {}
    if before is not None and set(before.segments) == set(fit.segments):
        order = [before.segments.index(each) for each in fit.segments]
        weights = feature_weights(fit.variance)
        moves = centroid_shift(fit.centroids, before.centroids[order], weights)
        shift = named(fit.segments, moves, 2)
    return [
        {
            "name": names[segment],
            "customers": size,
            "centroid": named(segmentation.feature_names, row),
            "shift": shift.get(segment),
        }
        for segment, size, row in zip(fit.segments, fit.sizes, centroids, strict=True)
    ]
