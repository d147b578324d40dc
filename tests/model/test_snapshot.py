"""A snapshot assigns by all known features, and published clusters resist flapping."""

from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from livesegments.model.cluster_statistics import ClusterStatistics
from livesegments.model.generation import Generation
from livesegments.model.snapshot import Assignment, ModelSnapshot
from livesegments.model.vectors import quantize

Floats = npt.NDArray[np.float64]
NAN = np.nan

GENERATION = Generation(
    number=2,
    centroids=np.array([[0.0, 10.0], [4.0, NAN], [8.0, 50.0]]),
    mean=np.array([4.0, 30.0]),
    variance=np.array([4.0, 100.0]),
    sizes=(5, 5, 5),
    segments=("a", "b", "c"),
)


def statistics_of(X: list[list[float]], clusters: list[int]) -> ClusterStatistics:
    return ClusterStatistics.of(quantize(np.array(X)), np.array(clusters), 3)


@pytest.mark.parametrize("statistics", [None, ClusterStatistics(3, 2)], ids=["none", "empty"])
def test_without_members_the_fit_serves(statistics: ClusterStatistics | None) -> None:
    snapshot = ModelSnapshot.of(GENERATION, statistics)
    assert snapshot.centroids.tolist() == [[0.0, 10.0], [4.0, 30.0], [8.0, 50.0]]
    assert snapshot.mean.tolist() == [4.0, 30.0]
    assert snapshot.std.tolist() == [2.0, 10.0]
    assert snapshot.weights.tolist() == [0.25, 0.01]


def test_centroids_and_scale_are_those_of_the_members() -> None:
    rows = [[1.0, 10.0], [3.0, 14.0], [5.0, 30.0], [9.0, 70.0]]
    snapshot = ModelSnapshot.of(GENERATION, statistics_of(rows, [0, 0, 1, 2]))
    assert snapshot.centroids.tolist() == [[2.0, 12.0], [5.0, 30.0], [9.0, 70.0]]
    assert snapshot.mean == pytest.approx(np.mean(rows, axis=0))
    assert snapshot.std == pytest.approx(np.std(rows, axis=0), rel=1e-6)
    assert snapshot.weights == pytest.approx(1 / np.var(rows, axis=0), rel=1e-6)


def test_an_empty_cluster_holds_its_place() -> None:
    snapshot = ModelSnapshot.of(GENERATION, statistics_of([[1.0, 10.0], [3.0, 20.0]], [0, 0]))
    assert snapshot.centroids[2].tolist() == [8.0, 50.0]


def test_an_unknown_coordinate_is_fitted_else_the_mean_of_all() -> None:
    rows = [[1.0, NAN], [3.0, NAN], [4.0, NAN], [9.0, 60.0], [9.5, 70.0]]
    snapshot = ModelSnapshot.of(GENERATION, statistics_of(rows, [0, 0, 1, 2, 2]))
    assert snapshot.centroids[:, 1].tolist() == [10.0, 65.0, 65.0]


def test_a_feature_nobody_knows_is_zero_without_weight() -> None:
    unknown = replace(
        GENERATION,
        centroids=np.array([[0.0, NAN], [4.0, NAN], [8.0, NAN]]),
        mean=np.array([4.0, NAN]),
        variance=np.array([4.0, NAN]),
    )
    snapshot = ModelSnapshot.of(unknown, None)
    assert snapshot.centroids[:, 1].tolist() == [0.0, 0.0, 0.0]
    assert snapshot.weights.tolist() == [0.25, 0.0]
    assert np.array_equal(snapshot.zscores(np.array([[6.0, 5.0]])), [[1.0, NAN]], equal_nan=True)


def test_a_single_member_does_not_take_the_scale_away() -> None:
    snapshot = ModelSnapshot.of(GENERATION, statistics_of([[1.0, 10.0]], [0]))
    assert snapshot.weights.tolist() == [0.25, 0.01]


def test_a_feature_without_spread_weighs_nothing() -> None:
    constant = replace(GENERATION, variance=np.array([4.0, 0.0]))
    snapshot = ModelSnapshot.of(constant, statistics_of([[1.0, 10.0], [2.0, 10.0]], [0, 1]))
    assert snapshot.weights[1] == 0.0


def test_statistics_of_another_shape_are_refused() -> None:
    with pytest.raises(ValueError, match="the generation"):
        ModelSnapshot.of(GENERATION, ClusterStatistics(3, 4))


def test_a_snapshot_does_not_follow_the_statistics() -> None:
    statistics = statistics_of([[1.0, 10.0], [3.0, 20.0]], [0, 0])
    snapshot = ModelSnapshot.of(GENERATION, statistics)
    before = snapshot.centroids.copy()
    statistics += statistics_of([[90.0, 90.0]], [0])
    assert np.array_equal(snapshot.centroids, before)
    with pytest.raises(ValueError, match="read-only"):
        snapshot.centroids[0, 0] = 1.0


def test_assignment_finds_the_nearest_by_known_features() -> None:
    assignment = ModelSnapshot.of(GENERATION, None).assign(
        np.array([[7.0, 10.0], [7.0, NAN], [NAN, NAN]])
    )
    assert assignment.clusters.tolist() == [1, 2, 0]
    assert assignment.clusters.dtype == np.int8
    assert assignment.distances[0] == pytest.approx([3.5, 2.5, 4.031], abs=1e-3)
    assert assignment.distances[1].tolist() == [3.5, 1.5, 0.5]
    assert assignment.runner_up().tolist() == [0, 1, 1]


def test_confidence_is_the_relative_lead_of_the_nearest() -> None:
    distances = np.array([[1.0, 4.0, 2.0], [0.0, 3.0, 3.0], [0.0, 0.0, 0.0], [2.0, 2.0, 5.0]])
    assignment = Assignment(distances.argmin(axis=1).astype(np.int8), distances)
    assert assignment.confidence().tolist() == [0.5, 1.0, 0.0, 0.0]
    assert assignment.runner_up().tolist() == [2, 1, 1, 1]


def test_zscores_are_relative_to_the_population() -> None:
    snapshot = ModelSnapshot.of(GENERATION, None)
    assert snapshot.zscores(np.array([[6.0, 20.0]])).tolist() == [[1.0, -1.0]]


def test_an_empty_batch_is_assigned() -> None:
    snapshot = ModelSnapshot.of(GENERATION, None)
    assignment = snapshot.assign(np.empty((0, 2)))
    switched, suppressed = assignment.switch(np.empty(0, np.int8), 0.15)
    assert assignment.distances.shape == (0, 3)
    assert (len(switched), len(suppressed), len(assignment.confidence())) == (0, 0, 0)


def test_a_switch_needs_the_margin() -> None:
    distances = np.array(
        [
            [1.0, 0.9, 5.0],  # nearer, by less than the margin
            [1.0, 0.85, 5.0],  # nearer by exactly the margin
            [1.0, 0.9, 5.0],  # already there
            [1.0, 0.9, 5.0],  # nothing published
            [0.0, 0.0, 0.0],  # a tie
        ]
    )
    nearest = distances.argmin(axis=1).astype(np.int8)
    published = np.array([0, 0, 1, -1, 2], np.int8)
    switched, suppressed = Assignment(nearest, distances).switch(published, 0.15)
    assert switched.tolist() == [0, 1, 1, 1, 2]
    assert switched.dtype == np.int8
    assert suppressed.tolist() == [True, False, False, False, False]


@given(
    arrays.arrays(np.float64, (6, 3), elements=st.floats(0, 10)),
    arrays.arrays(np.int8, 6, elements=st.integers(-1, 2)),
    st.floats(0, 0.99),
)
def test_switching_settles_at_once(distances: Floats, published: Floats, margin: float) -> None:
    assignment = Assignment(distances.argmin(axis=1).astype(np.int8), distances)
    once, suppressed = assignment.switch(published.astype(np.int8), margin)
    twice, still = assignment.switch(once, margin)
    assert (once >= 0).all()
    assert np.array_equal(once, twice)
    assert np.array_equal(suppressed, still)
    kept = once == published
    assert (once[~kept] == assignment.clusters[~kept]).all()


@pytest.mark.parametrize("margin", [-0.1, 1.0, np.nan])
def test_a_margin_out_of_range_is_refused(margin: float) -> None:
    snapshot = ModelSnapshot.of(GENERATION, None)
    with pytest.raises(ValueError, match="margin"):
        snapshot.assign(np.zeros((1, 2))).switch(np.zeros(1, np.int8), margin)
