"""From cluster snapshots to gauges, for any order of clusters and any unknown values."""

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry

from livesegments.monitoring.drift_metrics import ClusterSnapshot, DriftMetrics
from livesegments.monitoring.metric_specs import PREFIX
from livesegments.monitoring.metrics import Metrics
from tests.segmentations import PERSONAS

SEGMENTS, FEATURES = PERSONAS.segment_ids, PERSONAS.feature_names
K, D = len(SEGMENTS), len(FEATURES)


def snapshot(**changes: Any) -> ClusterSnapshot:
    rng = np.random.default_rng(1)
    centroids = rng.normal(size=(K, D))
    given = ClusterSnapshot(
        generation=1,
        provisional=False,
        updated_at=1.7e9,
        segments=SEGMENTS,
        centroids=centroids,
        means=centroids.copy(),
        known=np.full((K, D), 30),
        baseline=centroids.copy(),
        stddevs=np.array([1.0, 2.0, 10.0, 0.5, 0.4]),
        sizes=np.array([10, 20, 0, 40, 50]),
        mean=np.zeros(D),
        variance=np.array([1.0, 4.0, 100.0, 0.25, 0.16]),
        persona_distances=np.array([0.1, 0.2, 0.3, 0.4, 0.5]),
        mean_squared_distances=np.array([1.1, 1.2, math.nan, 1.4, 1.5]),
        explained_variance_ratio=0.6,
    )
    return replace(given, **changes)


class Report:
    """A worker's metrics, read back."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.drift = DriftMetrics(Metrics(self.registry, PERSONAS), PERSONAS)

    def value(self, name: str, **labels: str) -> float:
        found = self.registry.get_sample_value(PREFIX + name, labels)
        assert found is not None
        return found

    def by_segment(self, name: str) -> list[float]:
        return [self.value(name, segment=segment) for segment in SEGMENTS]


@pytest.fixture
def report() -> Report:
    return Report()


def moved(by: float, row: int = 0, feature: int = 0) -> np.ndarray[Any, np.dtype[np.float64]]:
    centroids = snapshot().centroids.copy()
    centroids[row, feature] += by
    return centroids


def test_what_is_given_is_reported(report: Report) -> None:
    report.drift.update(snapshot())
    assert report.by_segment("cluster_customers") == [10, 20, 0, 40, 50]
    assert report.by_segment("persona_distance_stddevs") == [0.1, 0.2, 0.3, 0.4, 0.5]
    assert report.by_segment("cluster_mean_squared_distance") == pytest.approx(
        [1.1, 1.2, math.nan, 1.4, 1.5], nan_ok=True
    )
    assert report.value("explained_variance_ratio") == 0.6
    assert report.value("model_generation") == 1
    assert report.value("model_last_update_timestamp_seconds") == 1.7e9
    assert report.value("scaler_stddev", feature="age") == 10
    assert report.value("scaler_mean", feature="age") == 0


def test_position_is_the_distance_from_the_mean_in_stddevs(report: Report) -> None:
    centroids = np.full((K, D), 7.0)
    report.drift.update(snapshot(centroids=centroids, mean=np.array([5.0, 5, 5, 5, 5])))
    found = report.value("centroid_position_stddevs", segment="families", feature="spend")
    assert found == pytest.approx((7 - 5) / 2)


def test_shift_is_the_distance_from_the_baseline_over_root_d(report: Report) -> None:
    stddevs = snapshot().stddevs
    report.drift.update(snapshot(centroids=snapshot().baseline + 3 * stddevs))
    assert report.by_segment("centroid_shift_stddevs") == pytest.approx([3.0] * K)
    report.drift.update(snapshot(centroids=moved(3 * stddevs[2], row=1, feature=2)))
    assert report.by_segment("centroid_shift_stddevs") == pytest.approx(
        [0, 3 / math.sqrt(D), 0, 0, 0]
    )


def test_travel_adds_up_there_and_back_while_shift_returns_to_zero(report: Report) -> None:
    report.drift.update(snapshot())
    assert report.by_segment("centroid_travel_stddevs_total") == [0] * K
    report.drift.update(snapshot(centroids=moved(2.0)))
    report.drift.update(snapshot())
    assert report.value("centroid_shift_stddevs", segment=SEGMENTS[0]) == pytest.approx(0)
    assert report.by_segment("centroid_travel_stddevs_total") == pytest.approx(
        [2 * 2.0 / math.sqrt(D), 0, 0, 0, 0]
    )


def test_the_jump_to_a_new_generation_is_no_travel(report: Report) -> None:
    report.drift.update(snapshot())
    report.drift.update(snapshot(generation=2, centroids=moved(50.0)))
    assert report.by_segment("centroid_travel_stddevs_total") == [0] * K
    report.drift.update(snapshot(generation=2, centroids=moved(51.0)))
    assert report.value("centroid_travel_stddevs_total", segment=SEGMENTS[0]) == pytest.approx(
        1 / math.sqrt(D)
    )


def test_arrays_that_the_model_goes_on_changing_do_not_hide_the_travel(report: Report) -> None:
    given = snapshot()
    report.drift.update(given)
    given.centroids[0, 0] += 2.0
    report.drift.update(given)
    assert report.value("centroid_travel_stddevs_total", segment=SEGMENTS[0]) == pytest.approx(
        2 / math.sqrt(D)
    )


def test_unknown_features_are_left_out_of_distances(report: Report) -> None:
    centroids = snapshot().baseline + 3 * snapshot().stddevs
    centroids[0, 2:] = math.nan
    centroids[1, :] = math.nan
    report.drift.update(snapshot(centroids=centroids))
    shifts = report.by_segment("centroid_shift_stddevs")
    assert shifts == pytest.approx([3.0, math.nan, 3.0, 3.0, 3.0], nan_ok=True)
    position = report.value("centroid_position_stddevs", segment=SEGMENTS[0], feature="age")
    assert math.isnan(position)


def test_travel_outlasts_a_time_in_which_a_feature_is_unknown(report: Report) -> None:
    for by in (0.0, math.nan, math.nan, 2.0):
        report.drift.update(snapshot(centroids=moved(by)))
    assert report.value("centroid_travel_stddevs_total", segment=SEGMENTS[0]) == pytest.approx(
        2 / math.sqrt(D)
    )


@pytest.mark.parametrize("stddev", [0.0, 1.5e-15])
def test_a_feature_that_was_constant_but_for_rounding_gives_no_distance(
    report: Report, stddev: float
) -> None:
    stddevs = np.array([stddev, 2.0, 10.0, 0.5, 0.4])
    report.drift.update(snapshot(stddevs=stddevs))
    report.drift.update(snapshot(stddevs=stddevs, centroids=moved(1.0)))
    assert report.value("centroid_shift_stddevs", segment=SEGMENTS[0]) == 0
    assert report.value("centroid_travel_stddevs_total", segment=SEGMENTS[0]) == 0


@settings(max_examples=10, deadline=None)
@given(st.permutations(range(K)))
def test_the_order_of_the_clusters_does_not_matter(order: list[int]) -> None:
    def permuted(given: ClusterSnapshot) -> ClusterSnapshot:
        rows = (
            "centroids",
            "means",
            "known",
            "baseline",
            "sizes",
            "persona_distances",
            "mean_squared_distances",
        )
        return replace(
            given,
            segments=tuple(given.segments[i] for i in order),
            **{name: getattr(given, name)[order] for name in rows},
        )

    straight, shuffled = Report(), Report()
    for given_ in (snapshot(), snapshot(centroids=moved(1.0, row=3))):
        straight.drift.update(given_)
        shuffled.drift.update(permuted(given_))
    for name in (
        *("cluster_customers", "centroid_shift_stddevs", "centroid_travel_stddevs_total"),
        *("persona_distance_stddevs", "cluster_mean_squared_distance"),
    ):
        assert shuffled.by_segment(name) == pytest.approx(straight.by_segment(name), nan_ok=True)


def test_what_too_few_customers_know_neither_shifts_nor_travels(report: Report) -> None:
    known = snapshot().known.copy()
    known[0, 0] = 29
    report.drift.update(snapshot(known=known))
    report.drift.update(snapshot(known=known, centroids=moved(50.0)))
    assert report.value("centroid_shift_stddevs", segment=SEGMENTS[0]) == 0
    assert report.value("centroid_travel_stddevs_total", segment=SEGMENTS[0]) == 0


def test_centroids_are_told_in_natural_units(report: Report) -> None:
    means = np.log([[10.0, 100.0, 1.0, 40_000.0, 1.0]] * K)
    means[:, 2] = 35.0
    means[1, 2] = math.nan
    report.drift.update(snapshot(means=means))
    found = [
        report.value("centroid_natural_units", segment=SEGMENTS[0], feature=feature)
        for feature in FEATURES
    ]
    assert found == pytest.approx([9.0, 99.0, 35.0, 40_000.0, 0.0])
    assert math.isnan(report.value("centroid_natural_units", segment=SEGMENTS[1], feature="age"))


def test_segments_other_than_the_deployments_are_refused(report: Report) -> None:
    with pytest.raises(ValueError, match="each once"):
        report.drift.update(snapshot(segments=(*SEGMENTS[:4], SEGMENTS[0])))
