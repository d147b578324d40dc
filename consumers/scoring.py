"""Cluster and published segment of records: arrays in, arrays out."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from livesegments.consumers.clocks import TOLERANCE_US
from livesegments.domain import Model, ProcessingConfig
from livesegments.features.record_codec import Records, may_be_profiled
from livesegments.features.window import Window, window
from livesegments.model.kmeans import MiniBatchKMeans
from livesegments.model.snapshot import Assignment
from livesegments.model.vectors import quantize

NONE = -1


@dataclass(frozen=True, slots=True)
class Scores:
    """Scores of n records.

    Attributes
    ----------
    model
        The model that they were scored with.
    window
        Window totals of each record at its clock.
    vectors, fixed
        (n, d) features, as floats and in fixed point.
    counted
        (n,) whether the record has a purchase in its window and may be profiled.
    outdated
        (n,) whether the published state is from before an erasure: a null ends it first.
    cluster, segment
        (n,) nearest cluster and the segment to publish, -1 for none.
    assignment
        Distances (n, k) of all records, counted or not.
    held_by_margin, held_by_dwell
        (n,) masks of switches suppressed by the margin or the dwell time.
    """

    model: Model
    window: Window
    vectors: NDArray[np.float64]
    fixed: NDArray[np.int32]
    counted: NDArray[np.bool_]
    outdated: NDArray[np.bool_]
    cluster: NDArray[np.int8]
    segment: NDArray[np.int8]
    assignment: Assignment
    held_by_margin: NDArray[np.bool_]
    held_by_dwell: NDArray[np.bool_]


def score(
    records: Records,
    clock_tile: NDArray[np.int64] | int,
    time_us: NDArray[np.int64] | int,
    model: Model,
    config: ProcessingConfig,
) -> Scores:
    """Score records with the current model.

    Parameters
    ----------
    records
        (n,) aggregated records.
    clock_tile
        Tile of each record's partition clock, (n,), or of all.
    time_us
        Time of a possible switch, (n,) or of all, to check the dwell time.
    model
        The model that assigns.
    config
        Features, margin and dwell time of published segments.
    """
    switching, segment_of_cluster = config.switching, model.segment_of_cluster
    at = window(records, clock_tile, config.layout)
    features = config.segmentation.vectors(records, at)
    counted = (at.purchases > 0) & may_be_profiled(records)
    assignment = model.kmeans.predict_arrays(features)
    cluster = np.where(counted, assignment.clusters, NONE).astype(np.int8)

    old = records["segment"]
    published_cluster = np.where(old >= 0, model.cluster_of_segment[old], NONE).astype(np.int8)
    switched, held_by_margin = assignment.switch(published_cluster, switching.margin)
    dwelling = (old >= 0) & (time_us - since(records, time_us) < switching.min_dwell_us)
    held_by_dwell = dwelling & (switched != published_cluster) & counted
    switched = np.where(held_by_dwell, published_cluster, switched)
    outdated = records["erased"] & (records["version"] > 0)
    segment = np.where(counted & ~outdated, segment_of_cluster[switched], NONE).astype(np.int8)
    return Scores(
        model=model,
        window=at,
        vectors=features,
        fixed=quantize(features),
        counted=counted,
        outdated=outdated,
        cluster=cluster,
        segment=segment,
        assignment=assignment,
        held_by_margin=held_by_margin & counted,
        held_by_dwell=held_by_dwell,
    )


def since(records: Records, clock_us: NDArray[np.int64] | int) -> NDArray[np.int64]:
    """Return (n,) start times of the published segments, 0 if ahead of the clock.

    Such a time comes from a wrong clock that a rebuild has set back; the segment may change at
    once.
    """
    began: NDArray[np.int64] = records["since"]
    return np.where(began > clock_us + TOLERANCE_US, 0, began)


def relearn(
    estimators: dict[int, MiniBatchKMeans],
    rows: NDArray[np.intp],
    records: Records,
    scores: Scores,
) -> dict[int, MiniBatchKMeans]:
    """Revert customers from their previous cluster and learn them in their current one.

    The learned cluster, vector and generation are taken from the record, not predicted again, so
    the statistics stay exact however often a customer moves.

    Parameters
    ----------
    estimators
        Generation -> estimator before; not modified.
    rows
        Rows of one partition whose cluster, vector or generation changes: see `moved_rows`.
    records, scores
        (n,) records before the scores are applied, and their scores.

    Returns
    -------
    Generation -> estimator after; an older generation without members is dropped.
    """
    generation = scores.model.generation.number
    was, vectors, clusters = (records[name][rows] for name in ("generation", "vector", "cluster"))
    left = sorted(set(was[clusters != NONE].tolist()))
    after = dict(estimators)
    for number in {*left, generation} if rows.size else ():
        after[number] = after[number].copy() if number in after else scores.model.kmeans.part()
    for number in left:
        of_it = was == number
        after[number].revert_arrays(vectors[of_it], clusters[of_it])
    if rows.size:
        after[generation].learn_arrays(scores.fixed[rows], scores.cluster[rows])
    return {
        number: each
        for number, each in after.items()
        if number == generation or each.statistics.members.any()
    }


def moved_rows(records: Records, scores: Scores) -> NDArray[np.intp]:
    """Return the rows whose cluster, vector or generation changes."""
    return np.flatnonzero(
        (records["cluster"] != scores.cluster)
        | (records["generation"] != scores.model.generation.number)
        | (records["vector"] != scores.fixed).any(axis=1)
    )
