"""The batch fit is deterministic, handles unknown values and is as good as scikit-learn's."""

import time

import numpy as np
import numpy.typing as npt
import pytest
from threadpoolctl import threadpool_limits

from livesegments.model.batch_kmeans import fit, inertia
from livesegments.model.generation import Generation
from livesegments.model.snapshot import ModelSnapshot
from livesegments.model.vectors import squared_distances

Floats = npt.NDArray[np.float64]
CENTERS = np.array([[0.0, 0.0, 20.0], [5.0, 0.0, 30.0], [0.0, 6.0, 45.0], [5.0, 6.0, 70.0]])


def blobs(n: int, seed: int = 0, unknown: float = 0.0) -> tuple[Floats, npt.NDArray[np.int64]]:
    """Four well separated groups; a share of the values in the last two features is unknown."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, len(CENTERS), n)
    X = CENTERS[labels] + rng.normal(0, [0.5, 0.5, 2.0], (n, 3))
    X[:, 1:][rng.random((n, 2)) < unknown] = np.nan
    return X, labels


def test_groups_are_found_although_values_are_unknown() -> None:
    X, labels = blobs(800, unknown=0.2)
    found = fit(X, 4, seed=1)
    order = [int(np.bincount(labels[found.clusters == k]).argmax()) for k in range(4)]
    assert sorted(order) == [0, 1, 2, 3]
    assert np.mean(np.array(order)[found.clusters] == labels) > 0.97
    assert found.centroids == pytest.approx(CENTERS[order], abs=0.5)


def test_centroids_are_the_means_of_known_values_and_inertia_is_their_objective() -> None:
    X, _ = blobs(500, unknown=0.3)
    found = fit(X, 4, seed=1)
    means = np.array([np.nanmean(X[found.clusters == k], axis=0) for k in range(4)])
    assert found.centroids == pytest.approx(means)
    assert found.mean == pytest.approx(np.nanmean(X, axis=0))
    assert found.variance == pytest.approx(np.nanvar(X, axis=0))
    assert found.weights == pytest.approx(1 / np.nanvar(X, axis=0))
    assert found.sizes == tuple(np.bincount(found.clusters, minlength=4))
    distances = squared_distances(X, found.centroids, found.weights)
    assert np.array_equal(found.clusters, distances.argmin(axis=1))
    assert found.inertia == pytest.approx(distances.min(axis=1).sum())
    assert found.inertia == pytest.approx(inertia(X, found.centroids, found.weights))


def test_the_same_seed_gives_the_same_fit() -> None:
    X, _ = blobs(300, unknown=0.3)
    one, same, other = fit(X, 5, seed=1), fit(X, 5, seed=1), fit(X, 5, seed=2, starts=1)
    assert one.centroids.tobytes() == same.centroids.tobytes()
    assert not np.array_equal(one.centroids, other.centroids)


def test_inertia_is_that_of_the_best_of_twenty_by_scikit_learn() -> None:
    from sklearn.cluster import KMeans  # slow to import

    X = np.random.default_rng(5).gamma(2.0, 1.0, (1000, 4))
    Z = (X - X.mean(axis=0)) / X.std(axis=0)
    with threadpool_limits(1):  # its threads slow each other down on small data
        best = KMeans(5, n_init=20, random_state=0).fit(Z).inertia_
    assert fit(X, 5, seed=1).inertia <= 1.01 * best


def test_a_fit_of_complete_rows_does_not_depend_on_units() -> None:
    X, _ = blobs(300)
    found, scaled = fit(X, 4, seed=1), fit(X * 8.0 + 3.0, 4, seed=1)
    assert np.array_equal(found.clusters, scaled.clusters)
    assert scaled.inertia == pytest.approx(found.inertia)


def test_initial_centroids_are_one_more_start() -> None:
    X, _ = blobs(400)
    known = np.where(np.arange(3) < 2, CENTERS, np.nan)
    found = fit(X, 4, seed=1, starts=0, initial=known)
    assert found.centroids == pytest.approx(CENTERS, abs=0.5)
    bad = np.tile(X[:1], (4, 1))
    assert fit(X, 4, seed=1, initial=bad).inertia == pytest.approx(found.inertia)


def test_an_empty_cluster_gets_the_farthest_row() -> None:
    X = np.array([[0.0], [1.0], [2.0], [100.0]])
    found = fit(X, 2, seed=1, starts=0, initial=np.array([[0.0], [1e6]]))
    assert found.sizes == (3, 1)
    assert found.centroids.ravel().tolist() == [1.0, 100.0]


def test_a_coordinate_without_known_value_stands_at_the_mean_of_all() -> None:
    nan = np.nan
    X = np.array([[0.0, nan]] * 4 + [[10.0, -1.0], [10.0, 1.0]] * 2 + [[4.0, 0.0]])
    found = fit(X, 2, seed=1, starts=0, initial=np.array([[0.0, 100.0], [10.0, 0.0]]))
    assert found.clusters.tolist() == [0, 0, 0, 0, 1, 1, 1, 1, 0]


def test_the_view_of_a_fit_assigns_as_the_fit_did() -> None:
    X, labels = blobs(400)
    X[labels == 0, 2] = np.nan  # one cluster in which the feature is always unknown
    found = fit(X, 4, seed=1)
    assert np.isnan(found.centroids).sum() == 1
    generation = Generation(
        1, found.centroids, found.mean, found.variance, found.sizes, ("a", "b", "c", "d")
    )
    assert np.array_equal(ModelSnapshot.of(generation, None).assign(X).clusters, found.clusters)


def test_unknown_and_constant_features_do_not_disturb() -> None:
    X, _ = blobs(300)
    extra = np.column_stack([X, np.full(len(X), 7.0), np.full(len(X), np.nan)])
    found, plain = fit(extra, 4, seed=1), fit(X, 4, seed=1)
    assert np.array_equal(found.clusters, plain.clusters)
    assert found.centroids[:, 3].tolist() == [7.0] * 4
    assert np.isnan(found.centroids[:, 4]).all()
    assert found.weights[3:].tolist() == [0.0, 0.0]


def test_rows_that_differ_only_in_what_is_known_are_clustered() -> None:
    X = np.array([[1.0, np.nan], [np.nan, 2.0], [1.0, 2.0], [3.0, 4.0]] * 3)
    assert sum(fit(X, 4, seed=1).sizes) == 12


def test_a_row_without_known_value_is_refused() -> None:
    with pytest.raises(ValueError, match="known value"):
        fit(np.array([[1.0], [np.nan], [2.0]]), 2, seed=1)


def test_infinite_values_are_refused() -> None:
    with pytest.raises(ValueError, match="finite"):
        fit(np.array([[1.0], [np.inf], [2.0]]), 2, seed=1)


@pytest.mark.parametrize("X", [np.empty((0, 2)), np.ones((9, 2))], ids=["none", "one"])
def test_rows_that_do_not_differ_are_refused(X: Floats) -> None:
    with pytest.raises(ValueError, match="rows that differ"):
        fit(X, 3, seed=1)


def test_with_fewer_distinct_rows_than_clusters_some_stay_empty() -> None:
    X = np.array([[1.0, 5.0], [2.0, 5.0], [4.0, 5.0]]).repeat([3, 2, 1], axis=0)
    found = fit(X, 5, seed=1)
    assert found.inertia == 0
    assert sorted(found.sizes) == [0, 0, 1, 2, 3]
    empty = np.array(found.sizes) == 0
    assert np.isnan(found.centroids[empty]).all()
    assert np.isfinite(found.centroids[~empty]).all()


def test_a_start_takes_the_best_of_its_draws() -> None:
    # A distant group of a few rows: plain k-means++ misses it in four of ten starts.
    X = np.concatenate([np.linspace(0, 1, 400), np.linspace(2, 3, 400), np.full(4, 9.0)])[:, None]
    best = fit(X, 3, seed=0, starts=40).inertia
    lone = [fit(X, 3, seed=seed, starts=1).inertia for seed in range(40)]
    assert np.mean(np.array(lone) < 1.001 * best) > 0.9


def test_impossible_requests_are_refused() -> None:
    X, _ = blobs(20)
    with pytest.raises(ValueError, match="k must be"):
        fit(X, 1, seed=1)
    with pytest.raises(ValueError, match="initial centroids must have shape"):
        fit(X, 4, seed=1, initial=np.zeros((3, 3)))
    with pytest.raises(ValueError, match="at least one start"):
        fit(X, 4, seed=1, starts=0)


def test_three_thousand_customers_are_fitted_in_seconds() -> None:
    rng = np.random.default_rng(1)
    X = rng.normal(size=(3000, 5))
    X[rng.random(X.shape) < 0.3] = np.nan
    X[:, 0] = rng.normal(size=3000)
    started = time.process_time()
    fit(X, 5, seed=1)
    assert time.process_time() - started < 5


def test_of_fewer_rows_than_clusters_some_clusters_stay_empty() -> None:
    found = fit(np.array([[1.0, 0.0], [2.0, 5.0]]), 5, seed=1)
    assert sorted(found.sizes) == [0, 0, 0, 1, 1]
    assert found.inertia == 0
