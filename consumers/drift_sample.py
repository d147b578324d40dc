"""The few customers of a round that drift detectors look at."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from livesegments.consumers.scoring import Scores
from livesegments.features.record_codec import Records

MOST = 32
"""Customers of a partition and round: enough when rounds are small, and cheap when they are big."""


@dataclass(frozen=True, slots=True)
class DriftSample:
    """Distances (n,) to the nearest centroid, and whose (n,) published segment changes."""

    distances: NDArray[np.float64]
    reassigned: NDArray[np.bool_]


def watch(records: Records, scores: Scores, generation: int) -> DriftSample:
    """Pick customers evenly from those that are scored under the same generation as before.

    Parameters
    ----------
    records
        (n,) of the customers whom the batch is about, before the scores are taken over.
    scores
        At least n, these first.
    generation
        That of the scores.
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
