"""Other online k-means on the service's input: the vector of each customer who just bought.

They cannot leave unknown values out. River's StandardScaler learns from the known ones, and the
others are imputed with its running mean, which is 0 once standardised.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

CLUSTERS, SEEDS = 5, range(1, 11)
HALF_LIFE = 10


class Rival(Protocol):
    """An online k-means over standardised rows."""

    def learn(self, Z: Floats) -> None:
        """Learn the rows of a batch."""

    def centroids(self) -> Floats:
        """Return the centroids, shape (k, d); before the first batch some may be missing."""


class Scaler:
    """River's StandardScaler, updated with known values only."""

    def __init__(self, dimensions: int) -> None:
        from river import preprocessing  # slow to import, and few benches need it

        self.dimensions = dimensions
        self._river = preprocessing.StandardScaler()

    def learn(self, X: Floats) -> None:
        """Learn rows."""
        for row in X.tolist():
            known = {i: value for i, value in enumerate(row) if value == value}
            self._river.learn_one(known)

    def scale(self, X: Floats) -> Floats:
        """Standardise rows; unknown values become the mean."""
        return np.nan_to_num((X - self.mean) / self.std)

    def restore(self, Z: Floats) -> Floats:
        """Return standardised centroids in feature units."""
        return np.asarray(Z * self.std + self.mean)

    @property
    def mean(self) -> Floats:
        """Mean of each feature, 0 if it was never known."""
        return np.array([self._river.means[i] for i in range(self.dimensions)])

    @property
    def std(self) -> Floats:
        """Standard deviation of each feature, 1 if it is zero."""
        variances = np.array([self._river.vars[i] for i in range(self.dimensions)])
        return np.where(variances > 1e-9, np.sqrt(variances), 1.0)


class River:
    """River's cluster.KMeans, row by row."""

    def __init__(self, seed: int, halflife: float) -> None:
        from river import cluster

        self.model = cluster.KMeans(n_clusters=CLUSTERS, halflife=halflife, seed=seed)

    def learn(self, Z: Floats) -> None:
        for row in Z.tolist():
            self.model.learn_one(dict(enumerate(row)))

    def centroids(self) -> Floats:
        centers = [self.model.centers[k] for k in range(CLUSTERS)]
        return np.array([[center[i] for i in sorted(center)] for center in centers], np.float64)


class Sklearn:
    """scikit-learn's MiniBatchKMeans.partial_fit, initialised by k-means++ on the first rows."""

    def __init__(self, seed: int) -> None:
        from sklearn.cluster import MiniBatchKMeans

        self.model = MiniBatchKMeans(n_clusters=CLUSTERS, random_state=seed, n_init=3)

    def learn(self, Z: Floats) -> None:
        if len(Z) >= CLUSTERS:
            self.model.partial_fit(Z)

    def centroids(self) -> Floats:
        return np.asarray(self.model.cluster_centers_, np.float64)


class Spark:
    """The update rule of Spark's StreamingKMeans, initialised with rows drawn from the first batch.

    c' = (c n a + x m) / (n a + m) and n' = n a + m, for m rows with mean x. Spark also splits the
    largest cluster when one dies out; that is not part of the rule and is left out.
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


# River's centroids move so far with each row that three seeds gave the same medians: one is enough.
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
        """Learn the vectors of a batch: rows (n, d) in feature units, NaN where unknown."""
        if not len(X):
            return
        self.scaler.learn(X)
        Z = self.scaler.scale(X)
        for models in self.models.values():
            for model in models:
                model.learn(Z)

    def centroids(self) -> dict[str, list[Floats]]:
        """Return each method's centroids in feature units, one array per seed."""
        return {
            name: [self.scaler.restore(model.centroids()) for model in models]
            for name, models in self.models.items()
        }


def imputed_fit(X: Floats, mean: Floats, weights: Floats) -> Floats:
    """Return a batch fit on mean-imputed values: the cost of imputation alone."""
    from sklearn.cluster import KMeans

    scale = np.where(weights > 0, np.sqrt(weights), 1.0)
    center = np.nan_to_num(mean)
    fit = KMeans(CLUSTERS, n_init=20, random_state=1).fit(np.nan_to_num((X - center) * scale))
    return np.asarray(fit.cluster_centers_ / scale + center)
