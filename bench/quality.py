"""How good the clusters are over a year: ours and other online k-means, against batch fits.

Every method sees the same stream: after each batch of purchases, the vectors of the customers who
bought. Each is judged on all current customers (a purchase in the window), by the inertia of its
centroids relative to the best of 20 batch fits, with the same weights and over known values only.
The others cannot leave unknown values out, so they get the mean of the known ones in their place.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from river import cluster
from sklearn.cluster import MiniBatchKMeans as SklearnMiniBatchKMeans

from bench.history import History, journey
from bench.report import Table
from features.record import Records, decode
from features.vector import vectors
from features.window import window
from model import lloyd

Floats = NDArray[np.float64]

BATCH, DATES, CLUSTERS, STARTS = 250, 8, 5, 20
GOAL = 1.05


class Scaler:
    """Running mean and standard deviation of known values, from all vectors seen."""

    def __init__(self) -> None:
        self.known = np.zeros(5)
        self.total = np.zeros(5)
        self.square = np.zeros(5)

    def learn(self, X: Floats) -> None:
        """Take rows in."""
        self.known += (~np.isnan(X)).sum(axis=0)
        self.total += np.nansum(X, axis=0)
        self.square += np.nansum(X**2, axis=0)

    @property
    def mean(self) -> Floats:
        """Mean of each feature, 0 when never known."""
        return np.asarray(self.total / np.maximum(self.known, 1))

    @property
    def std(self) -> Floats:
        """Standard deviation of each feature, 1 when there is none."""
        variance = self.square / np.maximum(self.known, 1) - self.mean**2
        return np.asarray(np.where(variance > 1e-9, np.sqrt(np.maximum(variance, 0)), 1.0))

    def scale(self, X: Floats) -> Floats:
        """Standardise rows; what is unknown becomes the mean."""
        return np.nan_to_num((X - self.mean) / self.std)

    def restore(self, Z: Floats) -> Floats:
        """Return standardised centroids in feature units."""
        return np.asarray(Z * self.std + self.mean)


class Rivals:
    """The other online k-means, each with the same scaler, fed batch by batch."""

    def __init__(self) -> None:
        self.scaler = Scaler()
        self.river = cluster.KMeans(n_clusters=CLUSTERS, seed=1)
        self.sklearn = SklearnMiniBatchKMeans(n_clusters=CLUSTERS, random_state=1, n_init=3)
        self.spark: Floats | None = None
        self.weights = np.zeros(CLUSTERS)

    def learn(self, X: Floats) -> None:
        """Take the vectors of a batch in."""
        self.scaler.learn(X)
        Z = self.scaler.scale(X)
        for row in Z.tolist():
            self.river.learn_one(dict(enumerate(row)))  # type: ignore[no-untyped-call]
        if len(Z) >= CLUSTERS:
            self.sklearn.partial_fit(Z)
            self._learn_spark(Z)

    def _learn_spark(self, Z: Floats) -> None:
        """Spark's StreamingKMeans: c' = (c n + x m) / (n + m), n' = n + m (decay factor 1)."""
        if self.spark is None:
            starts = np.random.default_rng(1).choice(len(Z), CLUSTERS, replace=False)
            self.spark = Z[starts].copy()
        labels = ((Z[:, None, :] - self.spark) ** 2).sum(axis=2).argmin(axis=1)
        for k in range(CLUSTERS):
            members = Z[labels == k]
            if len(members):
                n, m = self.weights[k], len(members)
                self.spark[k] = (self.spark[k] * n + members.sum(axis=0)) / (n + m)
                self.weights[k] = n + m

    def centroids(self) -> dict[str, Floats]:
        """Return each rival's centroids in feature units."""
        river = np.array(
            [[self.river.centers[k][j] for j in range(5)] for k in range(CLUSTERS)], np.float64
        )
        found = {"River cluster.KMeans": river, "scikit-learn partial_fit": self._sklearn()}
        found["Spark's streaming rule"] = river if self.spark is None else self.spark
        return {name: self.scaler.restore(Z) for name, Z in found.items()}

    def _sklearn(self) -> Floats:
        return np.asarray(self.sklearn.cluster_centers_, np.float64)


def label_means(X: Floats, labels: NDArray[np.int8], fallback: Floats) -> Floats:
    """Return the mean of each label's known values."""
    means = fallback.copy()
    for k in range(CLUSTERS):
        members = X[labels == k]
        known = ~np.isnan(members)
        counts = known.sum(axis=0)
        sums = np.where(known, members, 0).sum(axis=0)
        means[k] = np.where(counts > 0, sums / np.maximum(counts, 1), means[k])
    return means


def labelled_inertia(X: Floats, labels: NDArray[np.int8], means: Floats, weights: Floats) -> float:
    """Return the inertia of rows about the mean of their label, over known values."""
    return float((np.nan_to_num(X - means[labels]) ** 2 * weights).sum())


def run(events: Sequence[tuple[str, bytes, bytes]] | None = None) -> Table:
    """Replay the year through all methods and judge them at eight dates."""
    stream = list(events if events is not None else journey())
    history, rivals = History(), Rivals()
    marks = [len(stream) * i // DATES for i in range(1, DATES + 1)]
    ratios: dict[str, list[float]] = {}
    for start in range(0, len(stream), BATCH):
        batch = stream[start : start + BATCH]
        history.feed(batch)
        rivals.learn(_bought(history, batch))
        if start + BATCH >= marks[0]:
            marks.pop(0)
            for name, ratio in _judge(history, rivals).items():
                ratios.setdefault(name, []).append(ratio)
        if not marks:
            break
    table = Table(
        f"Quality: a year of Complete Journey, inertia at {DATES} dates relative to batch k-means"
        f" (best of {STARTS})",
        ("", "lowest", "median", "highest"),
    )
    for name, found in ratios.items():
        figures = (min(found), float(np.median(found)), max(found))
        table.add(name, *(f"{figure:.3f}" for figure in figures))
    ours = [ratio for name, found in ratios.items() if name.startswith("ours") for ratio in found]
    table.note(f"generations: {history.generations}; changes: {len(history.tally.changes):,}")
    table.goal(f"<= {GOAL} at every date", bool(ours) and max(ours) <= GOAL)
    return table


def _bought(history: History, batch: Sequence[tuple[str, bytes, bytes]]) -> Floats:
    names = dict.fromkeys(key.decode() for _, key, _ in batch)
    X, _ = _current(history, [history.records[name] for name in names if name in history.records])
    return X


def _current(history: History, blobs: Sequence[bytes]) -> tuple[Floats, Records]:
    records = decode(blobs, history.layout.tiles)
    at = window(records, history.layout.tile(history.owned.progress.clock_us))
    counted = at.purchases > 0
    return vectors(records, at)[counted], records[counted]


def _judge(history: History, rivals: Rivals) -> dict[str, float]:
    model = history.model.model({0: history.owned})
    if model is None:
        return {}
    X, records = _current(history, list(history.records.values()))
    best = lloyd.fit(X, CLUSTERS, seed=1, starts=STARTS)
    labels = records["cluster"]
    means = label_means(X, labels, np.array(model.view.centroids))
    found = {
        "ours, by centroids": lloyd.inertia(X, model.view.centroids, best.weights),
        "ours, by labels": labelled_inertia(X, labels, means, best.weights),
    }
    for name, centroids in rivals.centroids().items():
        found[name] = lloyd.inertia(X, centroids, best.weights)
    return {name: inertia / best.inertia for name, inertia in found.items()}
