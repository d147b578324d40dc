"""Comparison of segmentations: how well each fits, how stable it is, and which to take."""

from collections.abc import Mapping, Sequence
from typing import Any, TypedDict

import numpy as np
from numpy.typing import NDArray

from livesegments.analysis.backtest.simulator import Simulator
from livesegments.analysis.segments import Segment
from livesegments.model import batch_kmeans, drift
from livesegments.model.vectors import squared_distances

BOOTSTRAPS, STARTS, MOST_CUSTOMERS = 10, 8, 3_000
STABLE = 0.75
"""Adjusted Rand index from which two fits of other samples count as the same clusters."""
SMALL = 0.03
"""Share of the customers below which a segment is too small to address."""
CLOSE = 0.02
"""Difference of two silhouettes that decides nothing."""


class Fitness(TypedDict):
    """Fitness of a segmentation for the customers at the end of a history, for JSON.

    Attributes
    ----------
    segments
        Number of segments.
    explained_variance
        Share of the customers' spread that the clusters explain, from 0 to 1.
    silhouette
        Simplified silhouette, from -1 to 1.
    stability
        Mean adjusted Rand index between a fit of the customers and fits of bootstrap samples, up
        to 1.
    smallest_share
        Share of the customers in the smallest segment.
    persona_distance
        Largest distance of a segment from what its name says, in standard deviations; None for
        clusters without names.
    """

    segments: int
    explained_variance: float
    silhouette: float
    stability: float
    smallest_share: float
    persona_distance: float | None


def fitness(history: Simulator, segments: Sequence[Segment], *, is_named: bool) -> Fitness | None:
    """Return the fitness of a history's segmentation.

    None without a model, or if the customers, or those of a bootstrap sample, are all the same.
    Of more than 3,000 customers it takes a sample.
    """
    model, X = history.model.model({0: history.state}), history.population().vectors
    if model is None or not len(X) or not model.statistics.members.any():
        return None
    rng = np.random.default_rng(0)
    if len(X) > MOST_CUSTOMERS:
        X = X[rng.choice(len(X), MOST_CUSTOMERS, replace=False)]
    assignment, members = model.kmeans.predict_arrays(X), model.statistics.members
    try:
        stability = _stability(X, len(members), rng)
    except ValueError:
        return None
    explained = drift.explained_variance_ratio(model.statistics, model.snapshot.weights)
    farthest = max(each["persona_distance"] or 0.0 for each in segments)
    return {
        "segments": len(members),
        "explained_variance": round(explained, 4),
        "silhouette": round(drift.silhouette(assignment.distances, assignment.clusters), 4),
        "stability": round(stability, 4),
        "smallest_share": round(float(members.min() / members.sum()), 4),
        "persona_distance": round(farthest, 4) if is_named else None,
    }


def _stability(X: NDArray[np.float64], k: int, rng: np.random.Generator) -> float:
    """Return the mean adjusted Rand index of fits of bootstrap samples with a fit of all [1]_.

    References
    ----------
    .. [1] Hennig, C., 2007. Cluster-wise assessment of cluster stability. Computational Statistics
       & Data Analysis, 52(1), pp. 258-271.
    """
    from river.metrics import AdjustedRand  # seconds that no other backtest waits for

    whole = batch_kmeans.fit(X, k, seed=1, starts=STARTS).clusters
    drawn = [
        batch_kmeans.fit(X[rng.integers(len(X), size=len(X))], k, seed=seed, starts=STARTS)
        for seed in range(BOOTSTRAPS)
    ]
    found = []
    for fit in drawn:
        distances = squared_distances(X, fit.completed, fit.weights)
        agreement = AdjustedRand()
        for a, b in zip(whole.tolist(), distances.argmin(axis=1).tolist(), strict=True):
            agreement.update(a, b)
        found.append(agreement.get())
    return float(np.mean(found))


def recommend(outcomes: Sequence[Mapping[str, Any]]) -> str | None:
    """Recommend one of several segmentations, with the reason, in a sentence; None without a model.

    A segmentation qualifies if bootstrap fits agree on its clusters and none is tiny. Of those that
    qualify the one with the best silhouette wins; of several within 0.02, that whose customers
    change segment least.
    """
    rated = [each for each in outcomes if each["fitness"]]
    given = next((each["label"] for each in outcomes if each["is_given"]), "as set")
    if not rated:
        return None
    sound = [
        each
        for each in rated
        if each["fitness"]["stability"] >= STABLE and each["fitness"]["smallest_share"] >= SMALL
    ]
    if not sound:
        return (
            f"None to recommend: bootstrap fits agree on no clustering here (stability below"
            f" {STABLE:g}) without a segment below {SMALL:.0%} of the customers. Keep {given}, or"
            " choose other features."
        )
    best = max(each["fitness"]["silhouette"] for each in sound)
    near = [each for each in sound if each["fitness"]["silhouette"] >= best - CLOSE]
    quietest = min(near, key=lambda each: each["stability"]["a_customer_a_year"])
    label, fit = quietest["label"], quietest["fitness"]
    changes = quietest["stability"]["a_customer_a_year"]
    reason = (
        f"silhouette {fit['silhouette']:.2f}, stability {fit['stability']:.2f}, smallest segment"
        f" {fit['smallest_share']:.0%}, {changes:.1f} changes per customer and year"
    )
    if label == given:
        return f"Keep {label}: nothing compared is better ({reason})."
    among = (
        f", the fewest changes of {len(near)} with nearly the same silhouette"
        if len(near) > 1
        else ""
    )
    names = (
        "; its names do not suit these customers" if (fit["persona_distance"] or 0.0) > 1 else ""
    )
    return f"Take {label}: {reason}{among}{names}."
