"""Distribution of a feature at a fit, the baseline for drift."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from livesegments.model.drift import bin_counts, bin_edges, psi, psi_critical_value
from livesegments.model.types import Floats

_DIGITS = 6


@dataclass(frozen=True, slots=True)
class Histogram:
    """Counts of a sample in bins of equal frequency.

    Attributes
    ----------
    edges
        Inner edges of the bins, increasing, in feature units.
    counts
        Customers below the first edge, from each edge up to the next, and last those for whom the
        feature is unknown: two more than there are edges.

    Raises
    ------
    ValueError
        If the parts do not match.

    Examples
    --------
    >>> import numpy as np
    >>> from livesegments.model.histogram import Histogram

    >>> ages = np.array([20.0, 30.0, 40.0, 50.0, np.nan])
    >>> histogram = Histogram.of(ages, bins=2)
    >>> histogram
    Histogram(edges=(40.0,), counts=(2, 2, 1))
    >>> round(histogram.psi(ages), 3), histogram.psi(ages + 15) > 0.1
    (0.0, True)

    """

    edges: tuple[float, ...]
    counts: tuple[int, ...]

    def __post_init__(self) -> None:
        if len(self.counts) != len(self.edges) + 2 or any(count < 0 for count in self.counts):
            raise ValueError("a histogram has two counts, from 0 up, more than edges")
        if not np.all(np.diff(self.edges) > 0) or not np.isfinite(self.edges).all():
            raise ValueError("the edges of a histogram must rise")

    @classmethod
    def of(cls, sample: Floats, bins: int = 10) -> Histogram:
        """Bin and count a sample of the feature, shape (n,); NaN is unknown."""
        edges = np.unique(bin_edges(sample, bins).round(_DIGITS))
        return cls(tuple(edges.tolist()), tuple(bin_counts(sample, edges).tolist()))

    def psi(self, sample: Floats) -> float:
        """Population stability index of a later sample, shape (n,), NaN unknown."""
        return psi(np.array(self.counts), bin_counts(sample, np.array(self.edges)))

    def psi_critical_value(self, rows: int) -> float:
        """Threshold of the index for a later sample of ``rows`` rows."""
        return psi_critical_value(len(self.counts), sum(self.counts), rows)
