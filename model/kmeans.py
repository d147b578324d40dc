"""Mini-batch k-means for River, over the same functions that segment customers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import numpy.typing as npt
from river import base

from model.batch_kmeans import distinct_rows, fit
from model.cluster_statistics import LIMIT, ClusterStatistics, quantize
from model.generation import Generation
from model.snapshot import ModelSnapshot
from model.types import NOWHERE, Floats

if TYPE_CHECKING:
    import pandas as pd

Row: TypeAlias = frozenset[tuple[Hashable, float]]


class MiniBatchKMeans(base.Clusterer):
    """Online k-means whose centroids are exactly the means of the rows now counted.

    The first rows are kept until there are `warmup` of them, then clustered in batch (k-means++ and
    Lloyd). From then on a row is counted in its nearest cluster: count, sum and sum of squares in
    fixed-point integers, so that the order of rows does not matter and `revert_one` undoes
    `learn_one` to the last bit. Features are scaled by their variance over all rows counted, so no
    scaler is needed in front. A feature that is missing, None or NaN is left out of distances and
    means.

    Rows learned in one batch are all assigned to the centroids from before the batch.

    Parameters
    ----------
    n_clusters
        Number of clusters, from 2 to 127.
    warmup
        Rows to see before the first fit. It waits longer while there are fewer distinct rows than
        clusters.
    seed
        Seed of the first fit.

    Attributes
    ----------
    features : list
        Names of the features seen, sorted.
    waiting : collections.Counter
        The distinct rows learned before the first fit, and how often; empty afterwards.
    generation : Generation or None
        The first fit.
    statistics : ClusterStatistics or None
        The rows now counted.
    view : ModelSnapshot or None
        The centroids and scale that assign rows.

    Notes
    -----
    Values are counted in steps of 2**-20 and clipped to plus and minus 2,000; a feature whose
    variance is at most 2**-20 counts as constant. Take logarithms of money, for example.

    Examples
    --------
    >>> from model import MiniBatchKMeans

    >>> X = [
    ...     {"x": 1, "y": 2}, {"x": 1, "y": 4}, {"x": 1, "y": 0},
    ...     {"x": 9, "y": 2}, {"x": 9, "y": 4}, {"x": 9, "y": 0},
    ... ]
    >>> model = MiniBatchKMeans(n_clusters=2, warmup=6, seed=0)
    >>> for x in X:
    ...     model.learn_one(x)
    >>> [model.predict_one(x) for x in X]
    [1, 1, 1, 0, 0, 0]
    >>> model.centers
    {0: {'x': 9.0, 'y': 2.0}, 1: {'x': 1.0, 'y': 2.0}}

    Unknown values are left out:

    >>> model.predict_one({"x": 8, "y": None})
    0

    Mini-batches are data frames:

    >>> import pandas as pd

    >>> batch = pd.DataFrame({"x": [9, 0], "y": [6, 6]}, index=["ann", "bob"])
    >>> clusters = model.learn_predict_many(batch)
    >>> clusters
    ann    0
    bob    1
    Name: cluster, dtype: int64
    >>> model.centers
    {0: {'x': 9.0, 'y': 3.0}, 1: {'x': 0.75, 'y': 3.0}}

    What was learned can be taken back, from the cluster it was counted in:

    >>> model.revert_many(batch, clusters)
    >>> model.centers
    {0: {'x': 9.0, 'y': 2.0}, 1: {'x': 1.0, 'y': 2.0}}

    """

    def __init__(self, n_clusters: int = 5, warmup: int = 100, seed: int = 0) -> None:
        if not 2 <= n_clusters <= np.iinfo(np.int8).max:
            raise ValueError(f"n_clusters must be from 2 to 127, not {n_clusters}")
        self.n_clusters = n_clusters
        self.warmup = warmup
        self.seed = seed
        self.features: list[Any] = []
        self.waiting: Counter[Row] = Counter()
        self.generation: Generation | None = None
        self.statistics: ClusterStatistics | None = None
        self.view: ModelSnapshot | None = None

    @property
    def centers(self) -> dict[int, dict[Any, float]]:
        """Centroid of each cluster by feature; empty before the first fit."""
        centroids = [] if self.view is None else self.view.centroids.tolist()
        return {
            i: dict(zip(self.features, centroid, strict=True))
            for i, centroid in enumerate(centroids)
        }

    def learn_one(self, x: Mapping[Any, Any]) -> None:
        """Count one row in its nearest cluster; before the first fit, keep it for that.

        Parameters
        ----------
        x
            Values by feature; None and NaN are unknown. A row with nothing known teaches nothing.

        """
        self.learn_predict_one(x)

    def learn_predict_one(self, x: Mapping[Any, Any]) -> int:
        """Learn one row and return the cluster it was counted in, which `revert_one` asks for.

        That is what `predict_one` would have returned before. It is -1 for a row that was kept for
        the first fit, and for one with nothing known.
        """
        self._discover(x)
        return int(self._learn(self._array([x]))[0])

    def learn_many(self, X: pd.DataFrame) -> None:
        """Count a batch of rows, one a line and one feature a column; see `learn_one`."""
        self.learn_predict_many(X)

    def learn_predict_many(self, X: pd.DataFrame) -> pd.Series[int]:
        """Learn a batch and return the cluster of each row, with the index of `X`."""
        self._discover(X.columns)
        return _series(self._learn(self._array(X)), X)

    def predict_one(self, x: Mapping[Any, Any]) -> int:
        """Return the nearest cluster, from 0; always 0 before the first fit.

        Features never learned are ignored.
        """
        return int(self._predict(self._array([x]))[0])

    def predict_many(self, X: pd.DataFrame) -> pd.Series[int]:
        """Return the nearest cluster of each row, with the index of `X`."""
        return _series(self._predict(self._array(X)), X)

    def revert_one(self, x: Mapping[Any, Any], cluster: int) -> None:
        """Take back one row, as if it had not been learned.

        Parameters
        ----------
        x
            The row as it was learned.
        cluster
            The cluster it was counted in, as `learn_predict_one` returned it: a fresh prediction
            may differ, since centroids move. -1 takes back a row that was kept for the first fit,
            before that fit or after it; the fitted centroids stay what they were.

        Raises
        ------
        ValueError
            When `cluster` does not exist, or a row to take back before the first fit was not
            learned.

        """
        self._revert(self._array([x]), np.array([cluster], dtype=np.int64))

    def revert_many(self, X: pd.DataFrame, clusters: pd.Series[int]) -> None:
        """Take back a batch, from the clusters that `learn_predict_many` returned."""
        self._revert(self._array(X), np.asarray(clusters, dtype=np.int64))

    def _learn(self, X: Floats) -> npt.NDArray[np.int64]:
        clusters = np.full(len(X), NOWHERE)
        informative = ~np.isnan(X).all(axis=1)
        if self.view is None or self.statistics is None:
            self.waiting.update(self._rows(X[informative]))
            if self.waiting.total() >= self.warmup:
                self._first_fit()
        else:
            clusters[informative] = self.view.assign(X[informative]).clusters
            self.statistics.add(quantize(X), clusters)
            self._refresh()
        return clusters

    def _predict(self, X: Floats) -> npt.NDArray[np.int64]:
        if self.view is None:
            return np.zeros(len(X), dtype=np.int64)
        return self.view.assign(X).clusters.astype(np.int64)

    def _revert(self, X: Floats, clusters: npt.NDArray[np.int64]) -> None:
        informative = ~np.isnan(X).all(axis=1)
        if self.statistics is None or self.generation is None:
            rows = Counter(self._rows(X[informative]))
            if not rows <= self.waiting or (clusters != NOWHERE).any():
                raise ValueError("before the first fit only learned rows can be taken back, as -1")
            self.waiting -= rows
            return
        # Rows of the warm-up were counted where the first fit, which is kept, puts them.
        fitted = ModelSnapshot.of(self.generation, None).assign(X).clusters
        counted = np.where(clusters == NOWHERE, fitted, clusters)
        counted[~informative] = NOWHERE
        self.statistics.subtract(quantize(X), counted)
        self._refresh()

    def _first_fit(self) -> None:
        distinct = self._array([dict(row) for row in self.waiting])
        # In sorted order the fit does not depend on the order in which the rows came.
        order = np.lexsort(distinct.T)
        counts = np.fromiter(self.waiting.values(), dtype=np.int64)
        X = np.repeat(distinct[order], counts[order], axis=0)
        if distinct_rows(X) < self.n_clusters:
            return
        found = fit(X, self.n_clusters, seed=self.seed)
        self.generation = Generation(
            number=1,
            centroids=found.centroids,
            mean=found.mean,
            variance=found.variance,
            sizes=found.sizes,
            segments=tuple(map(str, range(self.n_clusters))),
        )
        self.statistics = ClusterStatistics.zeros(*found.centroids.shape)
        self.statistics.add(quantize(X), ModelSnapshot.of(self.generation, None).assign(X).clusters)
        self.waiting.clear()
        self._refresh()

    def _refresh(self) -> None:
        if self.generation is not None:
            self.view = ModelSnapshot.of(self.generation, self.statistics)

    def _discover(self, names: Iterable[Any]) -> None:
        new = set(names).difference(self.features)
        if not new:
            return
        # Names of several types do not compare, so types come first.
        features = sorted({*self.features, *new}, key=lambda name: (type(name).__name__, name))
        before = [features.index(name) for name in self.features]
        self.features = features
        if self.generation is None or self.statistics is None:
            return

        def widen(array: npt.NDArray[Any], unknown: float) -> npt.NDArray[Any]:
            wide = np.full((*array.shape[:-1], len(features)), unknown, dtype=array.dtype)
            wide[..., before] = array
            return wide

        fitted, counted = self.generation, self.statistics
        self.generation = replace(
            fitted,
            centroids=widen(fitted.centroids, np.nan),
            mean=widen(fitted.mean, np.nan),
            variance=widen(fitted.variance, np.nan),
        )
        sums = (counted.known, counted.total, counted.square)
        self.statistics = ClusterStatistics(counted.members, *(widen(array, 0) for array in sums))
        self._refresh()

    def _rows(self, X: Floats) -> list[Row]:
        known = ~np.isnan(X)
        return [
            frozenset((self.features[i], X[line, i].item()) for i in np.flatnonzero(known[line]))
            for line in range(len(X))
        ]

    def _array(self, rows: pd.DataFrame | Sequence[Mapping[Any, Any]]) -> Floats:
        if not isinstance(rows, Sequence):
            known = rows.reindex(columns=self.features)
            X = known.to_numpy(dtype=np.float64, na_value=np.nan)
        else:
            X = np.full((len(rows), len(self.features)), np.nan)
            for line, row in enumerate(rows):
                for column, name in enumerate(self.features):
                    if (value := row.get(name)) is not None:
                        X[line, column] = value
        return np.asarray(np.clip(X, -LIMIT, LIMIT))


def _series(clusters: npt.NDArray[np.int64], X: pd.DataFrame) -> pd.Series[int]:
    import pandas as pd  # slow to import; the service has arrays and does without

    return pd.Series(clusters, index=X.index, name="cluster")
