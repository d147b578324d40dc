"""Cluster and published segment of records: arrays in, arrays out."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from livesegments.consumers.clocks import TOLERANCE_US
from livesegments.domain import Hysteresis
from livesegments.features.feature_specs import vectors
from livesegments.features.record_codec import Records, may_be_profiled
from livesegments.features.window import Window, window
from livesegments.model.cluster_statistics import quantize
from livesegments.model.kmeans import MiniBatchKMeans
from livesegments.model.snapshot import Assignment

NONE = -1


@dataclass(frozen=True, slots=True)
class Scores:
    """Scores of n records.

    Attributes
    ----------
    window
        Window totals of each record at its clock.
    vectors, fixed
        (n, d) features, as floats and in fixed point.
    counted
        (n,) whether the record has a purchase in its window and may be profiled.
    cluster, segment
        (n,) nearest cluster and the segment to publish, -1 for none.
    assignment
        Distances (n, k) of all records, counted or not.
    held_by_margin, held_by_dwell
        (n,) masks of switches suppressed by the margin or the dwell time.
    """

    window: Window
    vectors: NDArray[np.float64]
    fixed: NDArray[np.int32]
    counted: NDArray[np.bool_]
    cluster: NDArray[np.int8]
    segment: NDArray[np.int8]
    assignment: Assignment
    held_by_margin: NDArray[np.bool_]
    held_by_dwell: NDArray[np.bool_]

    def of(self, rows: slice) -> "Scores":
        """Return the scores of some rows."""
        return Scores(
            window=Window(self.window.purchases[rows], self.window.cents[rows]),
            vectors=self.vectors[rows],
            fixed=self.fixed[rows],
            counted=self.counted[rows],
            cluster=self.cluster[rows],
            segment=self.segment[rows],
            assignment=self.assignment.take(rows),
            held_by_margin=self.held_by_margin[rows],
            held_by_dwell=self.held_by_dwell[rows],
        )


def score(
    records: Records,
    clock_tile: NDArray[np.int64],
    time_us: NDArray[np.int64],
    kmeans: MiniBatchKMeans,
    segment_of_cluster: NDArray[np.int8],
    switching: Hysteresis,
) -> Scores:
    """Score records with the current model.

    Parameters
    ----------
    records
        (n,) aggregated records.
    clock_tile
        (n,) tile of each record's partition clock.
    time_us
        (n,) time of a possible switch, to check the dwell time.
    kmeans
        The estimator that assigns.
    segment_of_cluster
        (k,) segment index of each cluster.
    switching
        Margin and dwell time of published segments.
    """
    at = window(records, clock_tile)
    features = vectors(records, at)
    counted = (at.purchases > 0) & may_be_profiled(records)
    assignment = kmeans.predict_arrays(features)
    cluster = np.where(counted, assignment.clusters, NONE).astype(np.int8)

    # Segments map one-to-one to clusters, so sorting inverts the map.
    cluster_of_segment = np.argsort(segment_of_cluster).astype(np.int8)
    old = records["segment"]
    published = np.where(old >= 0, cluster_of_segment[old], NONE).astype(np.int8)
    switched, held_by_margin = assignment.switch(published, switching.margin)
    dwelling = (old >= 0) & (time_us - since(records, time_us) < switching.min_dwell_us)
    held_by_dwell = dwelling & (switched != published) & counted
    switched = np.where(held_by_dwell, published, switched)
    segment = np.where(counted, segment_of_cluster[switched], NONE).astype(np.int8)
    return Scores(
        window=at,
        vectors=features,
        fixed=quantize(features),
        counted=counted,
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
