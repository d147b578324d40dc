"""Other online k-means, fed what the service sees: the vector of whoever just bought.

They cannot leave unknown values out. River's StandardScaler learns from the known ones, and in
place of the others they get its running mean, which is 0 once standardised.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from river import cluster, preprocessing
from sklearn.cluster import KMeans, MiniBatchKMeans

Floats = NDArray[np.float64]

CLUSTERS, SEEDS = 5, range(1, 11)
HALF_LIFE = 10


class Rival(Protocol):
    """An online k-means over standardised rows."""

    def learn(self, Z: Floats) -> None:
        """Take the rows of a batch in."""

    def centroids(self) -> Floats:
        """Return the centroids, shape (k, d); those of before the first batch may be missing."""


class Scaler:
    """River's StandardScaler, taught known values only."""

    def __init__(self, dimensions: int) -> None:
        self.dimensions = dimensions
        self._river = preprocessing.StandardScaler()

    def learn(self, X: Floats) -> None:
        """Take rows in."""
        for row in X.tolist():
            known = {i: value for i, value in enumerate(row) if value == value}
            self._river.learn_one(known)

    def scale(self, X: Floats) -> Floats:
        """Standardise rows; what is unknown becomes the mean."""
        return np.nan_to_num((X - self.mean) / self.std)

    def restore(self, Z: Floats) -> Floats:
        """Return standardised centroids in feature units."""
        return np.asarray(Z * self.std + self.mean)

    @property
    def mean(self) -> Floats:
        """Mean of each feature, 0 when never known."""
        return np.array([self._river.means[i] for i in range(self.dimensions)])

    @property
    def std(self) -> Floats:
        """Standard deviation of each feature, 1 when there is none."""
        variances = np.array([self._river.vars[i] for i in range(self.dimensions)])
        return np.where(variances > 1e-9, np.sqrt(variances), 1.0)


class River:
    """River's cluster.KMeans, one row after the other."""

    def __init__(self, seed: int, halflife: float) -> None:
        self.model = cluster.KMeans(n_clusters=CLUSTERS, halflife=halflife, seed=seed)

    def learn(self, Z: Floats) -> None:
        for row in Z.tolist():
            self.model.learn_one(dict(enumerate(row)))

    def centroids(self) -> Floats:
        centers = [self.model.centers[k] for k in range(CLUSTERS)]
        return np.array([[center[i] for i in sorted(center)] for center in centers], np.float64)


class Sklearn:
    """scikit-learn's MiniBatchKMeans.partial_fit, which starts with k-means++ of the first rows."""

    def __init__(self, seed: int) -> None:
        self.model = MiniBatchKMeans(n_clusters=CLUSTERS, random_state=seed, n_init=3)

    def learn(self, Z: Floats) -> None:
        if len(Z) >= CLUSTERS:
            self.model.partial_fit(Z)

    def centroids(self) -> Floats:
        return np.asarray(self.model.cluster_centers_, np.float64)


class Spark:
    """The rule of Spark's StreamingKMeans, from rows drawn out of the first batch.

    c' = (c n a + x m) / (n a + m) and n' = n a + m, for m rows with mean x. What Spark does about
    a cluster that dies out (it splits the largest) is not in the rule, and left out.
    """

    def __init__(self, seed: int, decay: float) -> None:
        self.seed, self.decay = seed, decay
        self.places: Floats = np.empty((0, 0))
        self.weights = np.zeros(CLUSTERS)

    def learn(self, Z: Floats) -> None:
        if len(Z) < CLUSTERS:
            return
        if not len(self.places):
            rng = np.random.default_rng(self.seed)
            self.places = Z[rng.choice(len(Z), CLUSTERS, replace=False)]
        labels = ((Z[:, None, :] - self.places) ** 2).sum(axis=2).argmin(axis=1)
        for k in range(CLUSTERS):
            members, n = Z[labels == k], self.weights[k] * self.decay
            self.weights[k] = n + len(members)
            if len(members):
                self.places[k] = (self.places[k] * n + members.sum(axis=0)) / self.weights[k]

    def centroids(self) -> Floats:
        return self.places


# River's centroids move so far with each row that three seeds gave the same medians; one will do.
RIVALS: dict[str, list[Callable[[], Rival]]] = {
    "River KMeans, halflife 0.5 (default)": [partial(River, 1, 0.5)],
    "River KMeans, halflife 0.1": [partial(River, 1, 0.1)],
    "scikit-learn partial_fit": [partial(Sklearn, seed) for seed in SEEDS],
    "Spark's rule, decay 1 (default)": [partial(Spark, seed, 1.0) for seed in SEEDS],
    f"Spark's rule, half-life {HALF_LIFE} batches": [
        partial(Spark, seed, 0.5 ** (1 / HALF_LIFE)) for seed in SEEDS
    ],
}


@dataclass(slots=True)
class Rivals:
    """All of them, with one scaler."""

    scaler: Scaler
    models: dict[str, list[Rival]] = field(
        default_factory=lambda: {name: [make() for make in makes] for name, makes in RIVALS.items()}
    )

    def learn(self, X: Floats) -> None:
        """Take the vectors of a batch in: rows (n, d) in feature units, NaN where unknown."""
        if not len(X):
            return
        self.scaler.learn(X)
        Z = self.scaler.scale(X)
        for models in self.models.values():
            for model in models:
                model.learn(Z)

    def centroids(self) -> dict[str, list[Floats]]:
        """Return each method's centroids in feature units, one array a seed."""
        return {
            name: [self.scaler.restore(model.centroids()) for model in models]
            for name, models in self.models.items()
        }


def imputed_fit(X: Floats, mean: Floats, weights: Floats) -> Floats:
    """Return a batch fit that has the mean for what is unknown: what imputing alone costs."""
    scale = np.where(weights > 0, np.sqrt(weights), 1.0)
    center = np.nan_to_num(mean)
    fit = KMeans(CLUSTERS, n_init=20, random_state=1).fit(np.nan_to_num((X - center) * scale))
    return np.asarray(fit.cluster_centers_ / scale + center)
