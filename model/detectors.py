"""River's drift detectors, applied to a sample of each mini-batch."""

from __future__ import annotations

import numpy as np

from livesegments.model.vectors import Flags, Floats

FARTHEST = 4.0
"""Distances, in standard deviations, are clipped here: ADWIN's bound is for values of 0 to 1."""

CONFIDENCE = 1e-4
"""ADWIN's delta; on a year of real purchases River's 0.002 occasionally detects a change."""

BATCH = 100
"""Customers per value of the Page-Hinkley test, which is their inertia."""

ALLOWED, EXCESS = 1.5, 5.5
"""Tolerated deviation of a batch, in standard errors, and the threshold of the summed excess.

Centroids adapt to a sudden drift within a few batches, so it must be detected in those. Batches of
unchanged customers reach the threshold much less than once in 60 million customers.
"""

REFERENCE = 10 * BATCH
"""Customers used to estimate the expected inertia before a batch is tested."""


class DriftDetectors:
    """Monitors one generation of the model; a new generation needs new detectors.

    ADWIN [1]_ monitors the mean distance to the nearest centroid and the share of customers whose
    published segment changes. The Page-Hinkley test [2]_ monitors the inertia of batches, in
    standard errors from that of all customers so far, and accumulates the excess.

    Examples
    --------
    >>> import numpy as np
    >>> from livesegments.model.detectors import DriftDetectors

    >>> rng, detectors = np.random.default_rng(7), DriftDetectors()
    >>> near, far = rng.uniform(0, 1, 5_000), rng.uniform(0, 3, 5_000)
    >>> unmoved = np.zeros(5_000, bool)
    >>> detectors.update(near, unmoved), sorted(set(detectors.update(far, unmoved)))
    ([], [('distance', 'adwin'), ('inertia', 'page_hinkley')])

    References
    ----------
    .. [1] Bifet, A. and Gavaldà, R., 2007. Learning from time-changing data with adaptive
       windowing. SIAM International Conference on Data Mining, pp. 443-448.
    .. [2] Page, E. S., 1954. Continuous inspection schemes. Biometrika, 41(1/2), pp. 100-115.

    """

    def __init__(self) -> None:
        # Imports scikit-learn, SciPy and pandas for seconds: only in workers with a model.
        from river.drift import ADWIN, PageHinkley

        self._distance = ADWIN(delta=CONFIDENCE)
        self._reassigned = ADWIN(delta=CONFIDENCE)
        self._inertia = PageHinkley(min_instances=10, delta=ALLOWED, threshold=EXCESS, alpha=0.9999)
        self._rest = np.empty(0)
        self._count, self._mean, self._scatter = 0, 0.0, 0.0

    def update(self, distances: Floats, reassigned: Flags) -> list[tuple[str, str]]:
        """Add customers in order of arrival; return each detection: (signal, detector).

        Parameters
        ----------
        distances
            Distances to the nearest centroid, in z-units, shape (n,).
        reassigned
            Mask of customers whose published segment changed, shape (n,).

        """
        clipped = np.minimum(distances, FARTHEST)
        found = []
        for name, detector, values in (
            ("distance", self._distance, clipped / FARTHEST),
            ("reassigned", self._reassigned, reassigned.astype(np.float64)),
        ):
            for value in values.tolist():
                detector.update(value)
                if detector.drift_detected:
                    found.append((name, "adwin"))
        squares = np.concatenate([self._rest, clipped**2])
        whole = len(squares) // BATCH * BATCH
        batches = squares[:whole].reshape(-1, BATCH)
        found += [("inertia", "page_hinkley") for batch in batches if self._departs(batch)]
        self._rest = squares[whole:]
        return found

    def _departs(self, batch: Floats) -> bool:
        detected = False
        if self._count >= REFERENCE and self._scatter > 0:
            error = np.sqrt(self._scatter / self._count / len(batch))
            self._inertia.update(float((batch.mean() - self._mean) / error))
            detected = self._inertia.drift_detected
        # Chan's pairwise update of mean and scatter.
        n, difference = self._count + len(batch), float(batch.mean()) - self._mean
        self._scatter += float(batch.var()) * len(batch)
        self._scatter += difference**2 * self._count * len(batch) / n
        self._mean += difference * len(batch) / n
        self._count = n
        return detected
