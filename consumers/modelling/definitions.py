"""Conversion of a generation to the segment definitions that are published, and back."""

from collections.abc import Sequence
from itertools import compress
from typing import Any

import numpy as np
from numpy.typing import NDArray

from livesegments.contracts.segments import SegmentDefinition
from livesegments.domain import Model
from livesegments.features.feature_specs import BY_NAME
from livesegments.features.segmentation import Segmentation
from livesegments.model.drift import Histogram, persona_distance
from livesegments.model.generation import Generation
from livesegments.model.vectors import feature_weights


def to_generation(definitions: Sequence[SegmentDefinition]) -> Generation:
    """Rebuild a generation from the definitions of its segments, one per cluster."""
    ordered = sorted(definitions, key=lambda each: each.cluster)
    models = [each.model for each in ordered]
    return Generation(
        number=ordered[0].generation,
        centroids=np.array([model.centroid for model in models], dtype=np.float64),
        mean=np.array(models[0].mean, dtype=np.float64),
        variance=np.array(models[0].variance, dtype=np.float64),
        sizes=tuple(model.size for model in models),
        segments=tuple(each.id for each in ordered),
        histograms=tuple(Histogram(each.edges, each.counts) for each in models[0].histograms),
        provisional=models[0].provisional,
    )


def complete_generation(
    definitions: Sequence[SegmentDefinition], segmentation: Segmentation
) -> Generation | None:
    """Rebuild a generation; None if segments are missing, or it is of another segmentation."""
    clusters = {each.cluster for each in definitions}
    if not len(definitions) == len(clusters) == len(segmentation.segments):
        return None
    if any(each.model.features != segmentation.feature_names for each in definitions):
        return None
    return to_generation(definitions)


def to_definitions(model: Model, segmentation: Segmentation) -> list[dict[str, Any]]:
    """Describe the current model in the fields of `SegmentDefinition`.

    The centroid is the mean of the segment's customers in natural units, null if the feature is
    unknown for all of them. A segment without customers keeps its fitted centroid.
    """
    generation, current = model.generation, model.means()
    names, segments = segmentation.feature_names, segmentation.segments
    members = tuple(model.statistics.members.tolist())
    sizes = members if any(members) else generation.sizes
    units = segmentation.natural(current)
    distances = persona_distance(model.snapshot.zscores(current), generation.segments, segments)
    by_id = {segment.id: segment for segment in segments}
    known = named_by(generation, names)
    definitions = []
    for cluster, segment_id in enumerate(generation.segments):
        segment = by_id[segment_id]
        distance = float(distances[cluster])
        definitions.append(
            {
                "id": segment_id,
                "name": segment.name,
                "description": f"{segment.description} {_basis(known[segment_id], names)}".strip(),
                "centroid": dict.fromkeys(BY_NAME)
                | dict(zip(names, _nullable(units[cluster], 6), strict=True)),
                "size": int(sizes[cluster]),
                "generation": generation.number,
                "cluster": cluster,
                "persona_distance": None if np.isnan(distance) else round(distance, 4),
                "named_by": known[segment_id],
                "model": {
                    "features": names,
                    "centroid": _nullable(generation.centroids[cluster]),
                    "mean": _nullable(generation.mean),
                    "variance": _nullable(generation.variance),
                    "size": generation.sizes[cluster],
                    "histograms": [
                        {"edges": each.edges, "counts": each.counts}
                        for each in generation.histograms
                    ],
                    "provisional": generation.provisional,
                },
            }
        )
    return definitions


def named_by(generation: Generation, features: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Return the features on which each segment's name is based.

    ``features`` are those of the vector. A feature counts if at least one customer in the cluster
    had it at the fit, and if it was not the same for all customers. A segment's expectations of the
    others could not be checked.
    """
    telling = (feature_weights(generation.variance) > 0) & ~np.isnan(generation.centroids)
    return {
        segment: tuple(compress(features, row.tolist()))
        for segment, row in zip(generation.segments, telling, strict=True)
    }


def _basis(known: Sequence[str], features: Sequence[str]) -> str:
    if len(known) == len(features):
        return ""
    if not known:
        return "Named by no feature."
    *others, last = known
    return f"Named by {', '.join(others)}{' and ' if others else ''}{last} only."


def _nullable(values: NDArray[np.float64], digits: int | None = None) -> list[float | None]:
    return [
        None if np.isnan(value) else value if digits is None else round(value, digits)
        for value in values.tolist()
    ]
