"""Sample of a micro-batch's customers for the drift detectors."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from livesegments.consumers.scoring import Scores
from livesegments.features.record_codec import Records

MOST = 32
"""Customers per partition and micro-batch: enough for small micro-batches, cheap for large ones."""


@dataclass(frozen=True, slots=True)
class DriftSample:
    """Distances (n,) to the nearest centroid, and mask (n,) of changed published segments."""

    distances: NDArray[np.float64]
    reassigned: NDArray[np.bool_]


def watch(records: Records, scores: Scores, generation: int) -> DriftSample:
    """Sample customers evenly among those scored under the same generation as before.

    Parameters
    ----------
    records
        (n,) records of the batch's customers, before the scores are applied.
    scores
        Scores of at least n records, these first.
    generation
        The generation of the scores.
    """
    n = len(records)
    same = scores.counted[:n] & (records["generation"] == generation)
    rows = np.flatnonzero(same)
    if len(rows) > MOST:
        rows = rows[np.linspace(0, len(rows) - 1, MOST).astype(np.intp)]
    assignment, before = scores.assignment, records["segment"][rows]
    return DriftSample(
        distances=assignment.distances[rows, assignment.clusters[rows]],
        reassigned=(before >= 0) & (before != scores.segment[rows]),
    )
