"""Scheduling of checks and handling of their outcomes."""

import time
from dataclasses import replace

import numpy as np
import pytest

from livesegments.consumers.modelling.initial_fit import Sample
from livesegments.consumers.modelling.refit import TRAVEL, Candidate, Checks, Schedule, travel
from livesegments.domain import Model
from livesegments.model.cluster_statistics import ClusterStatistics
from livesegments.model.snapshot import ModelSnapshot
from livesegments.model.vectors import Floats, quantize
from tests.consumers.harness import MEAN, STD, generation, model_of
from tests.consumers.modelling.test_refit import collapsed, sample

NEAR, FAR = 0.5 * TRAVEL, 2 * TRAVEL


def counted(vectors: Floats | None = None) -> ClusterStatistics:
    """Statistics of customers: by default one at the centre of each cluster."""
    X = generation().centroids if vectors is None else vectors
    return ClusterStatistics.of(quantize(X), np.arange(len(X)) % 5, k=5)


def shifted(by: float) -> ModelSnapshot:
    """Centroids shifted by a number of standard deviations."""
    view = ModelSnapshot.of(generation())
    return replace(view, centroids=view.centroids + by * STD)


def moved(by: float, number: int = 1, provisional: bool = True) -> Model:
    """The model of a generation whose customers have shifted by a number of standard deviations."""
    fitted = replace(generation(number), provisional=provisional)
    return model_of(fitted, counted(fitted.centroids + by * STD))


def begun() -> Schedule:
    """A schedule that has seen generation 1 after the sweep of tile 10."""
    schedule = Schedule()
    assert not schedule.is_due(moved(0), 10)
    return schedule


def test_a_check_is_due_after_each_sweep() -> None:
    schedule = begun()
    assert not schedule.is_due(moved(0), 10)
    assert schedule.is_due(moved(0), 11)
    schedule.checked(moved(0), 11)
    assert not schedule.is_due(moved(0), 11)


def test_while_windows_fill_a_check_is_due_when_centroids_have_travelled() -> None:
    schedule = begun()
    assert not schedule.is_due(moved(NEAR), 10)
    assert schedule.is_due(moved(FAR), 10)
    schedule.checked(moved(FAR), 10)
    assert not schedule.is_due(moved(FAR), 10)
    assert schedule.is_due(moved(2 * FAR), 10)


def test_once_windows_are_full_only_a_sweep_makes_a_check_due() -> None:
    schedule = Schedule()
    schedule.checked(moved(0, provisional=False), 10)
    assert not schedule.is_due(moved(FAR, provisional=False), 10)
    assert schedule.is_due(moved(0, provisional=False), 11)


def test_a_new_generation_is_left_alone_at_first() -> None:
    schedule = begun()
    assert not schedule.is_due(moved(FAR, number=2), 11)
    assert not schedule.is_due(moved(FAR, number=2), 11)
    assert schedule.is_due(moved(FAR, number=2), 12)


@pytest.mark.parametrize("provisional", [True, False])
def test_a_new_generation_is_checked_once_a_tile_is_swept_that_its_fit_did_not_know(
    provisional: bool,
) -> None:
    schedule = Schedule()
    schedule.fitted(1, 10)
    assert not schedule.is_due(moved(0, provisional=provisional), 20)
    assert schedule.is_due(moved(0, provisional=provisional), 20)
    schedule.checked(moved(0, provisional=provisional), 20)
    assert not schedule.is_due(moved(0, provisional=provisional), 20)


def test_a_fit_that_knew_the_swept_tile_is_left_alone() -> None:
    schedule = Schedule()
    schedule.fitted(1, 10)
    assert not schedule.is_due(moved(0), 10)
    assert not schedule.is_due(moved(0), 10)


def test_a_check_tells_the_tile_swept_before_it() -> None:
    checks = Checks()
    checks.is_due(collapsed(), 10)
    checks.start(sample, collapsed(), 11)
    candidate = finished(checks)
    assert candidate is not None
    assert candidate.swept_tile == 11


def test_travel_is_in_standard_deviations_of_a_known_value() -> None:
    assert travel(shifted(0).centroids, shifted(0.3), counted()) == pytest.approx(0.3)
    half = generation().centroids.copy()
    half[:, 1:] = np.nan
    view = shifted(0)
    before = np.array(view.centroids)
    before[:, 0] -= 0.3 * STD[0]
    assert travel(before, view, counted(half)) == pytest.approx(0.3)
    assert travel(before, view, counted()) == pytest.approx(0.3 / np.sqrt(5))


def test_travel_weighs_clusters_by_their_customers() -> None:
    view = shifted(0)
    before = np.array(view.centroids)
    before[0] -= 0.3 * STD
    alone = travel(before, view, counted(generation().centroids[:1]))
    assert alone == pytest.approx(0.3)
    assert travel(before, view, counted()) == pytest.approx(0.3 / np.sqrt(5))
    assert travel(before, view, ClusterStatistics(5, 5)) == 0


def finished(checks: Checks) -> Candidate | None:
    """Wait for the outcome of the running check."""
    for _ in range(1_200):
        found = checks.finished()
        if found is not None:
            return found
        time.sleep(0.05)
    return None


def test_one_check_runs_at_a_time_and_the_next_waits() -> None:
    checks = Checks()
    checks.is_due(collapsed(), 10)
    checks.start(sample, collapsed(), 11)
    assert not checks.is_due(collapsed(), 12)
    candidate = finished(checks)
    assert candidate is not None
    assert candidate.gain > 0.5
    assert checks.finished() is None
    assert not checks.is_due(collapsed(), 13)


def test_a_forgotten_check_finds_nothing() -> None:
    checks = Checks()
    checks.start(sample, collapsed(), 1)
    checks.forget()
    time.sleep(0.5)
    assert checks.finished() is None


def test_what_goes_wrong_in_the_thread_is_told() -> None:
    def lost() -> Sample:
        raise ConnectionError("the store is away")

    checks = Checks()
    checks.start(lost, collapsed(), 1)
    with pytest.raises(ConnectionError, match="away"):
        finished(checks)
    assert checks.finished() is None


def test_a_sample_of_equal_customers_finds_nothing() -> None:
    checks = Checks()
    checks.start(lambda: Sample(np.tile(MEAN, (10, 1)), 10.0), collapsed(), 1)
    time.sleep(0.5)
    assert checks.finished() is None
