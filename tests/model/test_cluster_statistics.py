"""The statistics are exact: order, batching and retraction leave no trace."""

import pickle
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from livesegments.model.cluster_statistics import ClusterStatistics
from livesegments.model.vectors import LIMIT, SCALE, UNKNOWN, dequantize, quantize

K, D = 3, 4
Population = tuple[npt.NDArray[np.int32], npt.NDArray[np.int8]]


@st.composite
def populations(draw: st.DrawFn) -> Population:
    """Vectors, unknown and extreme values among them, each in one cluster or in none."""
    n = draw(st.integers(0, 40))
    steps = st.integers(-int(LIMIT * SCALE), int(LIMIT * SCALE)) | st.just(UNKNOWN)
    vectors = draw(arrays.arrays(np.int32, (n, D), elements=steps))
    clusters = draw(arrays.arrays(np.int8, n, elements=st.integers(-1, K - 1)))
    return vectors, clusters


def counted(vectors: npt.NDArray[np.int32], clusters: npt.NDArray[Any]) -> ClusterStatistics:
    return ClusterStatistics.of(vectors, clusters, K)


@given(populations(), st.randoms(use_true_random=False))
def test_order_does_not_matter(population: Population, random: Any) -> None:
    vectors, clusters = population
    order = random.sample(range(len(vectors)), len(vectors))
    assert counted(vectors[order], clusters[order]) == counted(vectors, clusters)


@given(populations(), st.integers(0, 40))
def test_batching_does_not_matter(population: Population, cut: int) -> None:
    vectors, clusters = population
    in_two = counted(vectors[:cut], clusters[:cut])
    in_two += counted(vectors[cut:], clusters[cut:])
    assert in_two == counted(vectors, clusters)


@given(populations(), populations())
def test_taking_out_undoes_adding_exactly(before: Population, transient: Population) -> None:
    statistics = counted(*before)
    statistics += counted(*transient)
    statistics.count(*transient, times=-1)
    assert statistics.to_bytes() == counted(*before).to_bytes()


@given(populations(), populations())
def test_the_sum_of_the_parts_is_the_whole(one: Population, other: Population) -> None:
    whole = counted(np.concatenate([one[0], other[0]]), np.concatenate([one[1], other[1]]))
    parts = counted(*one)
    parts += counted(*other)
    assert parts == whole


@given(populations())
def test_bytes_round_trip(population: Population) -> None:
    statistics = counted(*population)
    data = statistics.to_bytes()
    assert len(data) == 8 * K * (1 + 3 * D)
    restored = ClusterStatistics.from_bytes(data, K, D)
    assert restored == statistics
    restored += counted(*population)  # it owns its arrays, and they are writable


@given(populations())
def test_sums_equal_those_of_unbounded_integers(population: Population) -> None:
    vectors, clusters = population
    statistics = counted(vectors, clusters)
    for k in range(K):
        assert statistics.members[k] == (clusters == k).sum()
        for d in range(D):
            values = [int(v) for v in vectors[clusters == k, d] if v != UNKNOWN]
            assert statistics.known[k, d] == len(values)
            assert statistics.total[k, d] == sum(values)
            assert statistics.square[k, d] == sum(v * v >> 20 for v in values)


def test_sums_of_a_large_batch_of_extreme_values_are_exact() -> None:
    limit = int(LIMIT * SCALE)
    values = np.random.default_rng(6).integers(limit - 10**6, limit, 20_000)
    statistics = counted(np.tile(values.astype(np.int32)[:, None], D), np.zeros(20_000, np.int8))
    assert statistics.total[0, 0] == sum(values.tolist())
    assert statistics.square[0, 0] == sum(value * value >> 20 for value in values.tolist())


def test_ten_million_ages_do_not_overflow() -> None:
    age = 120 * SCALE
    thousand = counted(np.full((1000, D), age, np.int32), np.zeros(1000, np.int8))
    grown = ClusterStatistics(K, D)
    for _ in range(10_000):
        grown += thousand
    assert grown.square[0, 0] == 10_000_000 * (age * age >> 20)
    assert grown.pooled().centroids()[0, 0] == 120.0
    assert grown.pooled().variances()[0, 0] < 1 / SCALE


@pytest.fixture
def sample() -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int64]]:
    rng = np.random.default_rng(3)
    X = rng.normal([5.0, -3.0, 40.0, 11.0], [1.0, 0.1, 15.0, 0.5], (500, D))
    X[rng.random(X.shape) < 0.3] = np.nan
    return X, rng.integers(-1, K, len(X))


def test_centroids_and_moments_equal_brute_force(
    sample: tuple[npt.NDArray[np.float64], npt.NDArray[np.int64]],
) -> None:
    X, clusters = sample
    statistics = counted(quantize(X), clusters)
    members = [X[clusters == k] for k in range(K)]
    everyone = X[clusters >= 0]
    means = np.array([np.nanmean(rows, axis=0) for rows in members])
    within = np.array([np.nansum((r - np.nanmean(r, axis=0)) ** 2, axis=0) for r in members])
    assert statistics.centroids() == pytest.approx(means, abs=1e-6)
    assert statistics.scatter() == pytest.approx(within, abs=1e-3, rel=1e-5)
    pooled = statistics.pooled()
    assert pooled.members.tolist() == [len(everyone)]
    assert pooled.centroids()[0] == pytest.approx(np.nanmean(everyone, axis=0), abs=1e-6)
    variances = np.nanvar(everyone, axis=0)
    assert pooled.variances()[0] == pytest.approx(variances, abs=1e-5, rel=1e-5)


def test_what_nobody_knows_is_nan() -> None:
    X = np.array([[1.0, np.nan, 3.0, 4.0]])
    statistics = counted(quantize(X), np.array([1]))
    assert np.isnan(statistics.centroids()[0]).all()
    assert statistics.centroids()[1] == pytest.approx(X[0], nan_ok=True)
    assert np.isnan(statistics.pooled().centroids()[0, 1])
    assert np.isnan(statistics.pooled().variances()[0, 1])
    assert (statistics.scatter() == 0).all()


@pytest.mark.parametrize(
    ("rows", "clusters"),
    [((2, D), [0]), ((1, D + 1), [0]), ((1, D), [K]), ((1, D), [-2])],
    ids=["too few clusters", "too many features", "cluster too high", "cluster too low"],
)
def test_a_wrong_batch_is_refused_and_changes_nothing(
    rows: tuple[int, int], clusters: list[int]
) -> None:
    statistics = ClusterStatistics(K, D)
    with pytest.raises(ValueError, match=r"clusters|shape"):
        statistics.count(np.zeros(rows, np.int32), np.array(clusters))
    assert statistics == ClusterStatistics(K, D)


def test_bytes_of_another_size_are_refused() -> None:
    data = ClusterStatistics(K, D).to_bytes()
    with pytest.raises(ValueError, match="take 312 bytes, not 311"):
        ClusterStatistics.from_bytes(data[:-1], K, D)


def test_statistics_of_different_shapes_do_not_add() -> None:
    statistics = ClusterStatistics(K, D)
    with pytest.raises(ValueError, match="cannot be added"):
        statistics += ClusterStatistics(K, D + 1)


def test_a_copy_is_independent() -> None:
    statistics = ClusterStatistics(K, D)
    copy = statistics.copy()
    copy += counted(np.zeros((1, D), np.int32), np.array([0]))
    assert statistics == ClusterStatistics(K, D)
    assert copy != statistics


@given(arrays.arrays(np.float64, (5, D), elements=st.floats(-LIMIT, LIMIT) | st.just(np.nan)))
def test_quantizing_rounds_by_at_most_half_a_step(X: npt.NDArray[np.float64]) -> None:
    restored = dequantize(quantize(X))
    assert restored == pytest.approx(X, abs=0.5 / SCALE, rel=0, nan_ok=True)
    assert np.array_equal(quantize(restored), quantize(X))


def test_values_out_of_range_are_clipped() -> None:
    X = np.array([[np.inf, -np.inf, 1e300, -2000.5]])
    assert dequantize(quantize(X)).tolist() == [[LIMIT, -LIMIT, LIMIT, -LIMIT]]


@given(populations())
def test_a_pickle_is_the_same_and_can_be_added_to(population: Population) -> None:
    statistics = counted(*population)
    restored = pickle.loads(pickle.dumps(statistics))  # noqa: S301
    assert restored == statistics
    restored += statistics
    assert restored.members.tolist() == (2 * statistics.members).tolist()


def test_features_of_which_nothing_is_known_can_be_put_between() -> None:
    statistics = counted(np.arange(2 * D, dtype=np.int32).reshape(2, D), np.array([0, 2]))
    wide = statistics.widened([0, 2, 3, 4], D + 1)
    assert wide.members.tolist() == [1, 0, 1]
    assert not wide.known[:, 1].any()
    for before, after in zip(
        (statistics.known, statistics.total, statistics.square),
        (wide.known, wide.total, wide.square),
        strict=True,
    ):
        assert np.array_equal(np.delete(after, 1, axis=1), before)
