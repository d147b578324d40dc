"""Reports of the drift monitor, and the conditions under which it reports nothing."""

import math
from dataclasses import replace

import numpy as np
import pytest
from prometheus_client import CollectorRegistry

from livesegments.consumers.drift_monitor import SAMPLE_SECONDS, DriftMonitor
from livesegments.consumers.modelling.initial_fit import Sample, first_generation
from livesegments.domain import DriftSample, Model
from livesegments.model.cluster_statistics import ClusterStatistics
from livesegments.model.drift import LEAST_KNOWN
from livesegments.model.generation import Generation
from livesegments.model.vectors import quantize
from livesegments.monitoring.metrics import Metrics
from livesegments.monitoring.series import PREFIX
from tests.consumers.harness import MEAN, STD, generation, model_of
from tests.segmentations import PERSONAS, POSITIONS


def sample(n: int = 1_000, seed: int = 0, full: bool = True) -> Sample:
    rng = np.random.default_rng(seed)
    places = MEAN + POSITIONS[np.arange(n) % 5] * STD
    return Sample(places + rng.normal(size=(n, 5)) * STD * 0.2, float(n), full)


def counted(of: Sample, generation: Generation) -> Model:
    """The model of a fit, with a sample's customers counted in it."""
    difference = (of.vectors[:, None] - generation.centroids) / STD
    nearest = (difference**2).sum(axis=2).argmin(axis=1)
    return model_of(generation, ClusterStatistics.of(quantize(of.vectors), nearest, k=5))


class World:
    """A drift monitor of a model, and its reports."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.drawn, self.draws = sample(), 0
        self.watch = DriftMonitor(Metrics(self.registry, PERSONAS), PERSONAS, self.draw)
        self.generation = first_generation(sample(), 3, PERSONAS)

    def draw(self) -> Sample:
        self.draws += 1
        return self.drawn

    def observe(self, of: Sample, now_s: float = 1.7e9, first: bool = True) -> None:
        self.watch.observe(counted(of, self.generation), first, now_s)

    def show(self, model: Model) -> None:
        self.watch.observe(model, False, 1.7e9)

    def by_segment(self, name: str) -> list[float]:
        return [self.value(name, segment=segment) for segment in PERSONAS.segment_ids]

    def value(self, name: str, **labels: str) -> float:
        found = self.registry.get_sample_value(PREFIX + name, labels)
        assert found is not None
        return found


@pytest.fixture
def world() -> World:
    return World()


def test_a_model_as_it_was_fitted_has_not_drifted(world: World) -> None:
    world.observe(world.drawn)
    assert world.value("model_generation") == 3
    assert world.value("model_provisional") == 0
    assert world.value("segment_share_psi") == pytest.approx(0)
    assert world.value("silhouette_score") > 0.5
    for feature in PERSONAS.feature_names:
        assert world.value("feature_psi", feature=feature) == 0
        assert world.value("feature_psi_critical", feature=feature) == pytest.approx(0.1)
    for segment in PERSONAS.segment_ids:
        assert world.value("cluster_customers", segment=segment) == 200
        assert world.value("centroid_shift_stddevs", segment=segment) < 0.01


def test_spend_in_another_unit_shows_in_that_feature(world: World) -> None:
    world.drawn.vectors[:, 1] += np.log(100)
    world.observe(world.drawn)
    found = {
        feature: world.value("feature_psi", feature=feature) for feature in PERSONAS.feature_names
    }
    assert found["spend"] > 1
    assert max(found.values()) == found["spend"]
    assert found["age"] == 0
    assert min(world.value("centroid_shift_stddevs", segment=s) for s in PERSONAS.segment_ids) > 0.3


def test_the_model_has_changed_when_its_statistics_have(world: World) -> None:
    def updated() -> float:
        return world.value("model_last_update_timestamp_seconds")

    world.observe(sample(500), 100.0)
    world.observe(sample(500), 200.0)
    assert updated() == 100.0
    world.observe(sample(501), 300.0)
    assert updated() == 300.0


def test_what_nobody_of_a_cluster_told_at_the_fit_is_no_baseline(world: World) -> None:
    centroids = world.generation.centroids.copy()
    centroids[0, 2:] = np.nan
    world.generation = replace(world.generation, centroids=centroids)
    whole = replace(world.generation, centroids=first_generation(sample(), 3, PERSONAS).centroids)
    members = counted(world.drawn, whole).statistics
    world.watch.observe(model_of(world.generation, members), True, 1.7e9)
    segment = world.generation.segments[0]
    assert world.value("centroid_shift_stddevs", segment=segment) < 0.05


K, D = POSITIONS.shape
FIRST = PERSONAS.segment_ids[0]
ROOT = math.sqrt(D)


def moved(
    by: dict[tuple[int, int], float] | float = 0.0,
    *,
    fitted: Generation | None = None,
    unknown: dict[tuple[int, int], int] | None = None,
) -> Model:
    """Return a model of 40 customers a cluster, all at its centroid.

    Centroids are moved ``by`` standard deviations since the fit: all of them, or some features (of
    cluster, feature); ``unknown`` customers do not have a feature.
    """
    fitted = fitted or generation()
    steps = np.full((K, D), by) if isinstance(by, float) else np.zeros((K, D))
    for at, step in ({} if isinstance(by, float) else by).items():
        steps[at] = step
    vectors = np.repeat((fitted.centroids + steps * STD)[:, None], 40, axis=1)
    for (cluster, feature), rows in (unknown or {}).items():
        vectors[cluster, :rows, feature] = np.nan
    clusters = np.repeat(np.arange(K), 40)
    return model_of(fitted, ClusterStatistics.of(quantize(vectors.reshape(-1, D)), clusters, k=K))


def test_clusters_and_scale_are_reported_in_all_units(world: World) -> None:
    model = moved({(1, 2): 0.5}, unknown={(0, 2): 40})
    world.show(model)
    assert world.by_segment("cluster_customers") == [40] * K
    assert world.by_segment("cluster_mean_squared_distance") == pytest.approx([0] * K, abs=1e-6)
    assert world.value("explained_variance_ratio") == pytest.approx(1)
    assert world.value("scaler_mean", feature="age") == model.snapshot.mean[2]
    assert world.value("scaler_stddev", feature="age") == model.snapshot.std[2]
    centroid = model.snapshot.centroids[1]
    for feature, raw, natural in zip(
        PERSONAS.feature_names,
        centroid,
        (*np.expm1(centroid[:2]), centroid[2], np.exp(centroid[3]), centroid[4]),
        strict=True,
    ):
        labels = {"segment": PERSONAS.segment_ids[1], "feature": feature}
        mean, std = (
            each[PERSONAS.feature_names.index(feature)] for each in (model.snapshot.mean, STD)
        )
        position = world.value("centroid_position_stddevs", **labels)
        assert position == pytest.approx((raw - mean) / std)
        assert world.value("centroid_natural_units", **labels) == pytest.approx(natural)
    assert math.isnan(world.value("centroid_natural_units", segment=FIRST, feature="age"))


def test_shift_is_the_distance_from_the_fit_over_root_d(world: World) -> None:
    world.show(moved(3.0))
    assert world.by_segment("centroid_shift_stddevs") == pytest.approx([3.0] * K)
    world.show(moved({(1, 2): 3.0}))
    assert world.by_segment("centroid_shift_stddevs") == pytest.approx(
        [0, 3 / ROOT, 0, 0, 0], abs=1e-5
    )


def test_travel_adds_up_there_and_back_while_shift_returns_to_zero(world: World) -> None:
    for by in (0.0, 2.0, 0.0):
        world.show(moved({(0, 0): by}))
    assert world.by_segment("centroid_shift_stddevs") == pytest.approx([0] * K, abs=1e-5)
    travel = world.by_segment("centroid_travel_stddevs_total")
    assert travel == pytest.approx([4 / ROOT, 0, 0, 0, 0], abs=1e-5)


def test_the_jump_to_a_new_generation_is_no_travel(world: World) -> None:
    world.show(moved())
    world.show(moved({(0, 0): 50.0}, fitted=generation(2)))
    assert world.by_segment("centroid_travel_stddevs_total") == [0] * K
    world.show(moved({(0, 0): 51.0}, fitted=generation(2)))
    travel = world.value("centroid_travel_stddevs_total", segment=FIRST)
    assert travel == pytest.approx(1 / ROOT, abs=1e-5)


def test_unknown_features_are_left_out_of_distances(world: World) -> None:
    unknown = {(0, feature): 40 for feature in (2, 3, 4)} | {(1, f): 40 for f in range(D)}
    world.show(moved(3.0, unknown=unknown))
    assert world.by_segment("centroid_shift_stddevs") == pytest.approx(
        [3.0, math.nan, 3.0, 3.0, 3.0], nan_ok=True
    )


def test_travel_outlasts_a_time_in_which_a_feature_is_unknown(world: World) -> None:
    for by, rows in ((0.0, 0), (0.0, 40), (0.0, 40), (2.0, 0)):
        world.show(moved({(0, 0): by}, unknown={(0, 0): rows}))
    travel = world.value("centroid_travel_stddevs_total", segment=FIRST)
    assert travel == pytest.approx(2 / ROOT, abs=1e-5)


def test_what_too_few_customers_know_neither_shifts_nor_travels(world: World) -> None:
    for by in (0.0, 50.0):
        world.show(moved({(0, 0): by}, unknown={(0, 0): 40 - LEAST_KNOWN + 1}))
    for name in ("centroid_shift_stddevs", "centroid_travel_stddevs_total"):
        assert world.by_segment(name) == pytest.approx([0] * K, abs=1e-5)


@pytest.mark.parametrize("stddev", [0.0, 1.5e-15])
def test_a_feature_that_was_constant_but_for_rounding_gives_no_distance(
    world: World, stddev: float
) -> None:
    fitted = replace(generation(), variance=np.array([stddev, *STD[1:]]) ** 2)
    for by in (0.0, 1.0):
        world.show(moved({(0, 0): by}, fitted=fitted))
    for name in ("centroid_shift_stddevs", "centroid_travel_stddevs_total"):
        assert world.by_segment(name) == pytest.approx([0] * K, abs=1e-5)


@pytest.mark.parametrize("turn", range(1, 5))
def test_the_order_of_the_clusters_does_not_matter(turn: int) -> None:
    straight, turned = World(), World()
    for by in (0.0, 1.0):
        straight.show(moved({(3, 1): by}))
        turned.show(moved({((3 + turn) % K, 1): by}, fitted=generation(turn=turn)))
    for name in (
        *("cluster_customers", "centroid_shift_stddevs", "centroid_travel_stddevs_total"),
        *("persona_distance_stddevs", "cluster_mean_squared_distance"),
    ):
        assert turned.by_segment(name) == pytest.approx(straight.by_segment(name), abs=1e-5)


def test_a_sample_is_drawn_now_and_then_by_who_owns_partition_0(world: World) -> None:
    world.observe(world.drawn, 100.0, first=False)
    assert world.draws == 0
    assert math.isnan(world.value("silhouette_score"))
    for now_s in (100.0, 101.0, 100.0 + SAMPLE_SECONDS):
        world.observe(world.drawn, now_s)
    assert world.draws == 2


def test_who_has_lost_partition_0_tells_no_sample_any_more(world: World) -> None:
    world.observe(world.drawn)
    world.observe(world.drawn, first=False)
    assert math.isnan(world.value("silhouette_score"))
    assert math.isnan(world.value("feature_psi", feature="age"))
    assert math.isnan(world.value("feature_psi_critical", feature="age"))


def test_a_generation_of_before_histograms_tells_no_drift_of_features(world: World) -> None:
    world.generation = replace(world.generation, histograms=())
    world.observe(world.drawn)
    assert math.isnan(world.value("feature_psi", feature="age"))
    assert world.value("silhouette_score") > 0.5


def test_without_a_model_nothing_is_told(world: World) -> None:
    world.watch.observe(None, True, 1.0)
    world.watch.look([DriftSample(np.ones(5), np.ones(5, bool))], None)
    assert world.draws == 0
    assert world.value("model_generation") == 0


def test_a_model_without_customers_shows_its_generation_and_no_sizes_of_before(
    world: World,
) -> None:
    world.observe(world.drawn)
    world.watch.observe(model_of(world.generation), True, 2e9)
    assert world.value("model_generation") == 3
    assert world.by_segment("cluster_customers") == [0] * K
    assert world.draws == 1


def detections(world: World) -> float:
    return world.value("drift_detections_total", signal="reassigned", detector="adwin")


def rounds(reassigned: bool) -> list[DriftSample]:
    return [DriftSample(np.ones(20), np.full(20, reassigned)) for _ in range(200)]


def of(number: int, provisional: bool) -> Model:
    return model_of(replace(generation(number), provisional=provisional))


def test_a_change_in_who_is_reassigned_is_counted(world: World) -> None:
    world.watch.look(rounds(False), of(1, provisional=False))
    assert detections(world) == 0
    world.watch.look(rounds(True), of(1, provisional=False))
    assert detections(world) >= 1


def test_while_windows_fill_and_across_generations_nothing_is_detected(world: World) -> None:
    world.watch.look(rounds(False), of(1, provisional=True))
    world.watch.look(rounds(True), of(1, provisional=True))
    world.watch.look(rounds(False), of(2, provisional=False))
    world.watch.look(rounds(True), of(3, provisional=False))
    assert detections(world) == 0
