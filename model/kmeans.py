"""Online mini-batch k-means as a River estimator: the model of the service."""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import numpy.typing as npt
from river import base

from livesegments.model import frames
from livesegments.model.batch_kmeans import Fit, distinct_rows, fit
from livesegments.model.cluster_statistics import ClusterStatistics
from livesegments.model.generation import Generation
from livesegments.model.snapshot import Assignment, ModelSnapshot
from livesegments.model.vectors import NOWHERE, Floats, Vectors, quantize

if TYPE_CHECKING:
    import pandas as pd


class MiniBatchKMeans(base.Clusterer):
    """Online mini-batch k-means with exact, mergeable and retractable centroids.

    The first `warmup` rows are kept and clustered in batch (k-means++ and Lloyd [1]_). After that,
    each mini-batch is assigned to the preceding centroids, by masked distances over the features
    known in a row [2]_, and counted in its clusters:

        centroid[k, j] = sum of x[j] / count, over the rows in k whose x[j] is known

    Unlike a decaying learning rate [3]_ this is the exact mean of the rows currently counted. Sums
    are fixed-point integers, so order does not matter, `revert_one` undoes `learn_one` exactly,
    and estimators of the same fit that learned disjoint rows are merged with ``+=``. Features are
    scaled by their variance over all counted rows, so no scaler is needed in front. A feature
    that is missing, None or NaN is ignored in distances and means.

    River's methods are built on methods for arrays, which a service calls with whole batches:
    `predict_arrays` assigns rows, `learn_arrays` and `revert_arrays` count them in given clusters.
    These may be different estimators: each worker learns its own rows, and assigns by the sum.

    Parameters
    ----------
    n_clusters
        Number of clusters, from 2 to 127.
    warmup
        Rows to learn before the first fit. The fit is postponed while there are fewer distinct
        rows than clusters.
    seed
        Seed of the first fit.
    starts
        Number of k-means++ starts of a fit.

    Attributes
    ----------
    features : list
        Names of the features seen, sorted; or as passed to `of`.
    waiting : collections.Counter
        Counts of the distinct rows learned before the first fit; empty afterwards.
    generation : Generation or None
        The fit; None before it, and in a part that only counts.
    statistics : ClusterStatistics
        Statistics of the rows currently counted.

    Notes
    -----
    Values are counted in steps of 2**-20 and clipped to plus and minus 2,000; a feature with a
    variance of at most 2**-20 is treated as constant. For money, for example, use logarithms, and
    for rates per cent.

    References
    ----------
    .. [1] Arthur, D. and Vassilvitskii, S., 2007. k-means++: The Advantages of Careful Seeding.
       Proceedings of the 18th Annual ACM-SIAM Symposium on Discrete Algorithms, pp. 1027-1035.
    .. [2] Chi, J. T., Chi, E. C. and Baraniuk, R. G., 2016. k-POD: A Method for k-Means Clustering
       of Missing Data. The American Statistician, 70(1), pp. 91-99.
    .. [3] Sculley, D., 2010. Web-scale k-means clustering. Proceedings of the 19th International
       Conference on World Wide Web, pp. 1177-1178.

    Examples
    --------
    >>> from livesegments.model import MiniBatchKMeans

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

    Unknown values are ignored:

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

    Learned rows can be reverted, from the cluster in which they were counted:

    >>> model.revert_many(batch, clusters)
    >>> model.centers
    {0: {'x': 9.0, 'y': 2.0}, 1: {'x': 1.0, 'y': 2.0}}

    Partial estimators add up to the whole. One worker counts a row where the sum assigns it:

    >>> import numpy as np
    >>> from livesegments.model.vectors import quantize

    >>> part = model.part()
    >>> X = np.array([[9.0, 6.0]])
    >>> part.learn_arrays(quantize(X), model.predict_arrays(X).clusters)
    >>> model += part
    >>> model.centers
    {0: {'x': 9.0, 'y': 3.0}, 1: {'x': 1.0, 'y': 2.0}}

    """

    def __init__(
        self, n_clusters: int = 5, warmup: int = 100, seed: int = 0, starts: int = 8
    ) -> None:
        if not 2 <= n_clusters <= np.iinfo(np.int8).max:
            raise ValueError(f"n_clusters must be from 2 to 127, not {n_clusters}")
        self.n_clusters = n_clusters
        self.warmup = warmup
        self.seed = seed
        self.starts = starts
        self.features: list[Any] = []
        self.waiting: Counter[frames.Row] = Counter()
        self.generation: Generation | None = None
        self.statistics = ClusterStatistics(n_clusters, 0)
        self._snapshot: ModelSnapshot | None = None

    @classmethod
    def of(
        cls,
        features: Sequence[Any],
        generation: Generation | None = None,
        statistics: ClusterStatistics | None = None,
        **parameters: Any,
    ) -> Self:
        """Create an estimator from a fit and its statistics; without a fit, one that only counts.

        Parameters
        ----------
        features
            Names of the d features, in the order of array columns.
        generation
            The fit.
        statistics
            Statistics of its clusters, zeros by default; the estimator takes ownership of them.
        parameters
            Parameters of the class.

        """
        model = cls(**parameters)
        model.features = list(features)
        model.generation = generation
        model.statistics = statistics or ClusterStatistics(model.n_clusters, len(features))
        return model

    def part(self) -> Self:
        """Create an estimator of the same features and clusters that only counts."""
        return type(self).of(self.features, **self._get_params())

    @property
    def centers(self) -> dict[int, dict[Any, float]]:
        """Centroid of each cluster by feature; empty before the first fit."""
        centroids = [] if self.generation is None else self.snapshot.centroids.tolist()
        return {
            i: dict(zip(self.features, centroid, strict=True))
            for i, centroid in enumerate(centroids)
        }

    @property
    def snapshot(self) -> ModelSnapshot:
        """Current centroids and scale.

        Raises
        ------
        ValueError
            If there is no fit.

        """
        if self.generation is None:
            raise ValueError("there are no centroids before a fit")
        if self._snapshot is None:
            self._snapshot = ModelSnapshot.of(self.generation, self.statistics)
        return self._snapshot

    def learn_one(self, x: Mapping[Any, Any]) -> None:
        """Count one row in its nearest cluster; before the first fit, keep it for the fit.

        None and NaN are unknown. A row without known values has no effect.
        """
        self.learn_predict_one(x)

    def learn_predict_one(self, x: Mapping[Any, Any]) -> int:
        """Learn one row and return the cluster in which it was counted, for `revert_one`.

        It is the cluster that `predict_one` would have returned before; -1 for a row kept for the
        first fit, and for a row without known values.
        """
        features = self._features_with(x)
        return int(self._learn(frames.from_dicts([x], features), features)[0])

    def learn_many(self, X: pd.DataFrame) -> None:
        """Count a mini-batch of rows, one feature per column; see `learn_one`."""
        self.learn_predict_many(X)

    def learn_predict_many(self, X: pd.DataFrame) -> pd.Series[int]:
        """Learn a mini-batch and return the cluster of each row, with the index of `X`."""
        features = self._features_with(X.columns)
        return frames.to_series(self._learn(frames.from_frame(X, features), features), X)

    def predict_one(self, x: Mapping[Any, Any]) -> int:
        """Return the nearest cluster by the features learned, from 0; 0 before the first fit."""
        return int(self._predict(frames.from_dicts([x], self.features))[0])

    def predict_many(self, X: pd.DataFrame) -> pd.Series[int]:
        """Return the nearest cluster of each row, with the index of `X`."""
        return frames.to_series(self._predict(frames.from_frame(X, self.features)), X)

    def revert_one(self, x: Mapping[Any, Any], cluster: int) -> None:
        """Revert one row, as if it had not been learned.

        Parameters
        ----------
        x
            The row as it was learned.
        cluster
            The cluster in which it was counted, as returned by `learn_predict_one`. A new
            prediction may differ, since centroids move. -1 reverts a row that was kept for the
            first fit, before or after that fit; the fitted centroids do not change.

        Raises
        ------
        ValueError
            If `cluster` does not exist, or a row reverted before the first fit was not learned.

        """
        self._revert(frames.from_dicts([x], self.features), np.array([cluster]))

    def revert_many(self, X: pd.DataFrame, clusters: pd.Series[int]) -> None:
        """Revert a mini-batch, from the clusters returned by `learn_predict_many`, row by row."""
        self._revert(frames.from_frame(X, self.features), np.asarray(clusters, dtype=np.int64))

    def predict_arrays(self, X: Floats) -> Assignment:
        """Assign rows, shape (n, d), in feature units; NaN is unknown."""
        return self.snapshot.assign(X)

    def learn_arrays(self, vectors: Vectors, clusters: npt.NDArray[np.integer]) -> None:
        """Count rows in their clusters.

        Parameters
        ----------
        vectors
            Quantized rows, int32, shape (n, d); see `livesegments.model.vectors.quantize`.
        clusters
            The cluster of each, shape (n,); rows with -1 are not counted.

        Raises
        ------
        ValueError
            If the shapes do not match or a cluster does not exist; nothing is counted then.

        """
        self.statistics.count(vectors, clusters)
        self._snapshot = None

    def revert_arrays(self, vectors: Vectors, clusters: npt.NDArray[np.integer]) -> None:
        """Revert rows: the exact inverse of `learn_arrays` with the same arguments."""
        self.statistics.count(vectors, clusters, times=-1)
        self._snapshot = None

    def fit_arrays(self, X: Floats, seed: int | None = None) -> Fit:
        """Cluster rows in batch, starting from k-means++ and from the current centroids.

        The estimator does not change.

        Parameters
        ----------
        X
            Rows, shape (n, d), in feature units; NaN is unknown.
        seed
            Overrides the estimator's seed.

        """
        return fit(
            X,
            self.n_clusters,
            seed=self.seed if seed is None else seed,
            starts=self.starts,
            initial=None if self.generation is None else self.snapshot.centroids,
        )

    def __iadd__(self, other: MiniBatchKMeans) -> Self:
        if self.waiting or other.waiting:
            raise ValueError("estimators can be added only after the first fit")
        if other.features != self.features:
            raise ValueError(f"features {other.features} cannot be added to {self.features}")
        if self.generation and other.generation and other.generation != self.generation:
            raise ValueError("estimators of different fits cannot be added")
        self.statistics += other.statistics
        self.generation, self._snapshot = self.generation or other.generation, None
        return self

    def __add__(self, other: MiniBatchKMeans) -> Self:
        total = self.copy()
        total += other
        return total

    def copy(self) -> Self:
        """Return an independent copy."""
        twin = copy.copy(self)
        twin.features, twin.waiting = self.features.copy(), self.waiting.copy()
        twin.statistics = self.statistics.copy()
        return twin

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_snapshot": None}

    def _learn(self, X: Floats, features: list[Any]) -> npt.NDArray[np.int64]:
        if features != self.features:
            self._widen(features)
        clusters = np.full(len(X), NOWHERE)
        informative = ~np.isnan(X).all(axis=1)
        if self.generation is None:
            if self.statistics.members.any():
                raise ValueError("a part has no centroids to assign rows to")
            self.waiting.update(frames.to_rows(X[informative], self.features))
            if self.waiting.total() >= self.warmup and len(self.waiting) >= self.n_clusters:
                self._first_fit()
        else:
            clusters[informative] = self.predict_arrays(X[informative]).clusters
            self.learn_arrays(quantize(X), clusters)
        return clusters

    def _predict(self, X: Floats) -> npt.NDArray[np.int64]:
        if self.generation is None:
            return np.zeros(len(X), dtype=np.int64)
        return self.predict_arrays(X).clusters.astype(np.int64)

    def _revert(self, X: Floats, clusters: npt.NDArray[np.int64]) -> None:
        informative = ~np.isnan(X).all(axis=1)
        if self.generation is None:
            rows = Counter(frames.to_rows(X[informative], self.features))
            if not rows <= self.waiting or (clusters != NOWHERE).any():
                raise ValueError("before the first fit only learned rows can be taken back, as -1")
            self.waiting -= rows
            return
        # Rows of the warm-up were counted where the first fit, which is kept, assigns them.
        fitted = ModelSnapshot.of(self.generation).assign(X).clusters
        counted = np.where(clusters == NOWHERE, fitted, clusters)
        counted[~informative] = NOWHERE
        self.revert_arrays(quantize(X), counted)

    def _first_fit(self) -> None:
        distinct = frames.from_dicts([dict(row) for row in self.waiting], self.features)
        # Sort the rows, so that the fit does not depend on their order of arrival.
        order = np.lexsort(distinct.T)
        counts = np.fromiter(self.waiting.values(), dtype=np.int64)
        X = np.repeat(distinct[order], counts[order], axis=0)
        if distinct_rows(X) < self.n_clusters:
            return
        names = [str(cluster) for cluster in range(self.n_clusters)]
        self.generation = Generation.of(self.fit_arrays(X), number=1, segments=names)
        self.learn_arrays(quantize(X), self.predict_arrays(X).clusters)
        self.waiting.clear()

    def _features_with(self, names: Iterable[Any]) -> list[Any]:
        """Return the features with those that are new."""
        new = set(names).difference(self.features)
        return frames.ordered({*self.features, *new}) if new else self.features

    def _widen(self, features: list[Any]) -> None:
        columns = [features.index(name) for name in self.features]
        self.statistics = self.statistics.widened(columns, len(features))
        if self.generation is not None:
            self.generation = self.generation.widened(columns, len(features))
        self.features, self._snapshot = features, None
