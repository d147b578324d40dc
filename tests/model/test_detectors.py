"""Detectors find a change, and nothing without one."""

import numpy as np
import pytest

from livesegments.model.detectors import BATCH, REFERENCE, DriftDetectors
from livesegments.model.vectors import Flags, Floats

Found = set[tuple[str, str]]
ROUND = 32


def feed(detectors: DriftDetectors, distances: Floats, reassigned: Flags) -> Found:
    found: Found = set()
    for start in range(0, len(distances), ROUND):
        rows = slice(start, start + ROUND)
        found |= set(detectors.update(distances[rows], reassigned[rows]))
    return found


@pytest.fixture
def settled() -> DriftDetectors:
    """Detectors that have seen 10,000 customers."""
    detectors = DriftDetectors()
    assert feed(detectors, *customers(1)) == set()
    return detectors


def customers(
    seed: int, n: int = 10_000, far: float = 1.0, rate: float = 0.03
) -> tuple[Floats, Flags]:
    rng = np.random.default_rng(seed)
    return far * rng.gamma(3, 0.3, n), rng.random(n) < rate


def test_of_the_same_kind_nothing_is_found(settled: DriftDetectors) -> None:
    for seed in range(2, 7):
        assert feed(settled, *customers(seed)) == set()


def test_customers_farther_away_are_found_by_distance_and_inertia(settled: DriftDetectors) -> None:
    found = feed(settled, *customers(2, 4_000, far=1.5))
    assert found == {("distance", "adwin"), ("inertia", "page_hinkley")}


def test_a_drift_is_found_by_inertia_though_centroids_soon_catch_up(
    settled: DriftDetectors,
) -> None:
    assert ("inertia", "page_hinkley") in feed(settled, *customers(2, 2 * BATCH, far=1.5))


def test_more_changes_of_segment_are_found(settled: DriftDetectors) -> None:
    assert feed(settled, *customers(2, 3_000, rate=0.1)) == {("reassigned", "adwin")}


def test_fewer_changes_of_segment_are_found_too(settled: DriftDetectors) -> None:
    assert feed(settled, *customers(2, rate=0.0)) == {("reassigned", "adwin")}


def test_one_customer_out_of_all_measure_is_no_drift(settled: DriftDetectors) -> None:
    distances, reassigned = customers(2)
    distances[5_000] = 1e9
    assert feed(settled, distances, reassigned) == set()


def test_what_a_round_leaves_over_goes_to_the_next_batch() -> None:
    """Micro-batches of one customer and of thousands give the same batches of inertia."""
    distances, nobody = customers(1, 6 * REFERENCE)[0], np.zeros(6 * REFERENCE, bool)
    distances[3 * REFERENCE :] *= 2
    after = {}
    for size in (1, 7, BATCH, 1_000):
        detectors = DriftDetectors()
        for start in range(0, len(distances), size):
            rows = slice(start, start + size)
            if ("inertia", "page_hinkley") in detectors.update(distances[rows], nobody[rows]):
                after[size] = start // 1_000
                break
    assert set(after) == {1, 7, BATCH, 1_000}
    assert len(set(after.values())) == 1


def test_customers_without_any_distance_are_no_fault() -> None:
    assert feed(DriftDetectors(), np.zeros(5_000), np.zeros(5_000, bool)) == set()
