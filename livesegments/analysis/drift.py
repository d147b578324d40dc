"""Drift of the model since the fit that its generation began with."""

from dataclasses import dataclass

import numpy as np

from livesegments.model import drift
from livesegments.model.cluster_statistics import ClusterStatistics
from livesegments.model.generation import Generation
from livesegments.model.snapshot import ModelSnapshot
from livesegments.model.vectors import Floats


@dataclass(frozen=True, slots=True)
class DriftSinceFit:
    """Drift of a model; NaN: unknown.

    Attributes
    ----------
    shift
        (k,) distance that each centroid has moved, in standard deviations per feature.
    explained_variance
        Share of the customers' variance that the clusters explain.
    share_psi, share_psi_critical
        Population stability index of the clusters' sizes, and its noise level.
    """

    shift: Floats
    explained_variance: float
    share_psi: float
    share_psi_critical: float


def drift_since_fit(generation: Generation, statistics: ClusterStatistics | None) -> DriftSinceFit:
    """Return the drift; without statistics all but the noise level is unknown.

    Features that few customers of a cluster know do not count, as in the metrics.
    """
    fitted, now = np.array(generation.sizes), np.zeros(len(generation.sizes), np.int64)
    shift, explained, psi = np.full(len(fitted), np.nan), float("nan"), float("nan")
    if statistics is not None:
        now = statistics.members
        at_fit, view = ModelSnapshot.of(generation, None), ModelSnapshot.of(generation, statistics)
        settled = np.where(statistics.known >= drift.LEAST_KNOWN, view.centroids, np.nan)
        shift = drift.centroid_shift(settled, at_fit.centroids, at_fit.weights)
        explained = drift.explained_variance_ratio(statistics, view.weights)
        psi = drift.psi(fitted, now)
    critical = drift.psi_critical_value(len(fitted), int(fitted.sum()), int(now.sum()))
    return DriftSinceFit(shift, explained, psi, critical)
