"""Drift metrics equal those computed directly from the customers."""

import numpy as np
import numpy.typing as npt
import pytest

from livesegments.model import drift
from livesegments.model.cluster_statistics import ClusterStatistics
from livesegments.model.vectors import quantize
from tests.segmentations import PERSONAS, POSITIONS

Floats = npt.NDArray[np.float64]
NAN = np.nan
K, D = 3, 2


@pytest.fixture
def customers() -> tuple[Floats, npt.NDArray[np.int64], ClusterStatistics]:
    rng = np.random.default_rng(8)
    clusters = rng.integers(0, K, 400)
    X = np.array([[0.0, 10.0], [4.0, 30.0], [8.0, 20.0]])[clusters]
    X = X + rng.normal(0, [1.0, 5.0], X.shape)
    X[rng.random(X.shape) < 0.2] = NAN
    statistics = ClusterStatistics.of(quantize(X), clusters, K)
    return X, clusters, statistics


def test_centroid_shift_is_the_z_distance_per_root_feature() -> None:
    shift = drift.centroid_shift(
        np.array([[3.0, 30.0], [3.0, NAN], [NAN, NAN]]),
        np.array([[0.0, 70.0], [5.0, 10.0], [1.0, 1.0]]),
        np.array([1.0, 0.01]),
    )
    assert shift == pytest.approx([5.0 / np.sqrt(2), 2.0, NAN], nan_ok=True)


def test_centroid_shift_leaves_out_features_without_weight() -> None:
    shift = drift.centroid_shift(np.array([[3.0, 9.0]]), np.zeros((1, 2)), np.array([1.0, 0.0]))
    assert shift.tolist() == [3.0]


def test_persona_distance_is_to_the_persona_of_the_name() -> None:
    ids = list(PERSONAS.segment_ids)
    centroids = POSITIONS[::-1].copy()
    assert drift.persona_distance(centroids, ids[::-1], PERSONAS.segments).tolist() == [0.0] * 5
    centroids[0] = centroids[0] + 2.0
    centroids[1, 1:] = NAN
    centroids[2] = NAN
    distances = drift.persona_distance(centroids, ids[::-1], PERSONAS.segments)
    assert distances == pytest.approx([2.0, 0.0, NAN, 0.0, 0.0], nan_ok=True)


def test_mean_squared_distance_equals_that_of_the_members(
    customers: tuple[Floats, npt.NDArray[np.int64], ClusterStatistics],
) -> None:
    X, clusters, statistics = customers
    weights = 1 / np.nanvar(X, axis=0)
    members = [X[clusters == k] for k in range(K)]
    expected = [
        np.nansum((r - np.nanmean(r, axis=0)) ** 2 * weights, axis=1).mean() for r in members
    ]
    assert drift.mean_squared_distance(statistics, weights) == pytest.approx(expected, rel=1e-5)
    empty = drift.mean_squared_distance(ClusterStatistics(K, D), weights)
    assert np.isnan(empty).all()


def test_explained_variance_equals_one_less_the_share_within(
    customers: tuple[Floats, npt.NDArray[np.int64], ClusterStatistics],
) -> None:
    X, clusters, statistics = customers
    weights = 1 / np.nanvar(X, axis=0)
    centroids = np.array([np.nanmean(X[clusters == k], axis=0) for k in range(K)])
    within = np.nansum((X - centroids[clusters]) ** 2 * weights)
    total = np.nansum((X - np.nanmean(X, axis=0)) ** 2 * weights)
    ratio = drift.explained_variance_ratio(statistics, weights)
    assert ratio == pytest.approx(1 - within / total, rel=1e-5)
    assert 0.5 < ratio < 1.0
    assert np.isnan(drift.explained_variance_ratio(ClusterStatistics(K, D), weights))


def test_silhouette_equals_brute_force() -> None:
    rng = np.random.default_rng(1)
    distances = rng.uniform(0, 3, (50, 4))
    clusters = rng.integers(0, 4, 50).astype(np.int8)
    scores = []
    for row, own in zip(distances, clusters, strict=True):
        a, b = row[own], min(d for k, d in enumerate(row) if k != own)
        scores.append((b - a) / max(a, b))
    assert drift.silhouette(distances, clusters) == pytest.approx(np.mean(scores))


def test_silhouette_is_one_at_the_centroids_and_zero_where_they_coincide() -> None:
    at_home = np.array([[0.0, 2.0], [3.0, 0.0]])
    assert drift.silhouette(at_home, np.array([0, 1], np.int8)) == 1.0
    assert drift.silhouette(np.zeros((3, 2)), np.zeros(3, np.int8)) == 0.0
    assert np.isnan(drift.silhouette(np.empty((0, 2)), np.empty(0, np.int8)))


def test_psi_equals_its_formula_and_takes_counts_or_shares() -> None:
    expected, actual = np.array([100.0, 300.0, 600.0]), np.array([50.0, 20.0, 30.0])
    e, a = expected / 1000, actual / 100
    formula = sum((a - e) * np.log(a / e))
    assert drift.psi(expected, actual) == pytest.approx(formula)
    assert drift.psi(e, a) == pytest.approx(formula)
    assert drift.psi(a, e) == pytest.approx(formula)
    assert drift.psi(expected, expected) == 0.0


def test_psi_of_an_empty_bin_is_large_but_finite() -> None:
    assert 1.0 < drift.psi(np.array([50, 50]), np.array([100, 0])) < 10.0
    assert np.isnan(drift.psi(np.array([0, 0]), np.array([1, 1])))


@pytest.mark.parametrize(("n", "m"), [(200, 300), (1000, 150)])
def test_one_in_a_hundred_undrifted_samples_exceeds_the_null(n: int, m: int) -> None:
    rng = np.random.default_rng(4)
    shares = np.array([0.1, 0.2, 0.3, 0.25, 0.15])
    indices = [
        drift.psi(rng.multinomial(n, shares), rng.multinomial(m, shares)) for _ in range(20_000)
    ]
    null = (1 / n + 1 / m) * 13.2767  # 99 % of chi-squared with four degrees of freedom
    assert np.mean(np.array(indices) > null) == pytest.approx(0.01, abs=0.006)
    assert drift.psi_critical_value(5, n, m) == pytest.approx(max(0.1, null), rel=1e-4)


def test_the_critical_value_is_a_tenth_for_many_customers_and_infinite_for_none() -> None:
    assert drift.psi_critical_value(5, 1_000_000, 1_000_000) == 0.1
    assert drift.psi_critical_value(5, 0, 100) == np.inf


def test_bins_are_equally_frequent_in_the_baseline() -> None:
    sample = np.random.default_rng(2).normal(size=10_000)
    counts = drift.bin_counts(sample, drift.bin_edges(sample))
    assert len(counts) == 11
    assert counts[:10] == pytest.approx(np.full(10, 1000), abs=1)
    assert counts[10] == 0


def test_bins_of_a_feature_with_few_values_part_those_values() -> None:
    sample = np.repeat([0.0, 0.5, 1.0, NAN], [50, 20, 30, 7])
    counts = drift.bin_counts(sample, drift.bin_edges(sample))
    assert sorted(counts.tolist()) == sorted([0.0, 50.0, 20.0, 30.0, 7.0])
    assert counts[-1] == 7


def test_a_feature_nobody_knows_has_one_empty_bin_and_the_unknown() -> None:
    sample = np.full(4, NAN)
    assert drift.bin_counts(sample, drift.bin_edges(sample)).tolist() == [0.0, 4.0]
