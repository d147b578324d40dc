"""Distances use known features only and do not depend on the batch."""

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from livesegments.model.vectors import feature_weights, nearest, squared_distances

Floats = npt.NDArray[np.float64]
VALUES = st.floats(-1e3, 1e3)
ROWS = arrays.arrays(np.float64, (7, 3), elements=VALUES | st.just(np.nan))
CENTROIDS = arrays.arrays(np.float64, (4, 3), elements=VALUES)
WEIGHTS = arrays.arrays(np.float64, 3, elements=st.floats(0, 10))


@given(ROWS, CENTROIDS, WEIGHTS)
def test_distances_equal_brute_force(X: Floats, centroids: Floats, weights: Floats) -> None:
    expected = [
        [
            sum(
                w * (v - c) ** 2
                for v, c, w in zip(row, centroid, weights, strict=True)
                if not np.isnan(v)
            )
            for centroid in centroids
        ]
        for row in X
    ]
    assert squared_distances(X, centroids, weights) == pytest.approx(np.array(expected), rel=1e-12)


@given(ROWS, CENTROIDS, WEIGHTS)
def test_a_row_has_the_same_distances_alone(X: Floats, centroids: Floats, weights: Floats) -> None:
    together = squared_distances(X, centroids, weights)
    alone = np.concatenate([squared_distances(row[None], centroids, weights) for row in X])
    assert np.array_equal(together, alone)


@given(ROWS, CENTROIDS)
def test_a_feature_of_weight_zero_does_not_matter(X: Floats, centroids: Floats) -> None:
    weights = np.array([1.0, 0.0, 2.0])
    changed, elsewhere = X.copy(), centroids.copy()
    changed[:, 1], elsewhere[:, 1] = np.inf, np.nan
    assert np.array_equal(
        squared_distances(X, centroids, weights), squared_distances(changed, elsewhere, weights)
    )


def test_nothing_cancels_far_from_the_origin() -> None:
    X = np.array([[1e9 + 1.0]])
    assert squared_distances(X, np.array([[1e9]]), np.ones(1)).item() == 1.0


def test_weights_put_distances_in_standard_deviations() -> None:
    weights = feature_weights(np.array([4.0, 0.25]))
    assert squared_distances(np.array([[2.0, 0.5]]), np.zeros((1, 2)), weights).item() == 2.0


def test_unknown_and_constant_features_weigh_nothing() -> None:
    assert feature_weights(np.array([np.nan, 0.0, 2.0**-20])).tolist() == [0.0, 0.0, 0.0]


@given(ROWS, CENTROIDS)
def test_the_nearest_is_the_first_of_the_least_distances(X: Floats, centroids: Floats) -> None:
    distances = squared_distances(X, np.rint(centroids), np.ones(3))
    clusters, least = nearest(distances.T)
    assert np.array_equal(clusters, distances.argmin(axis=1))
    assert np.array_equal(least, distances.min(axis=1))
