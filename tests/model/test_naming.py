"""Clusters get the names of the personas they resemble and keep them."""

from itertools import permutations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from livesegments.model.naming import match, match_successors, suitable
from tests.segmentations import PERSONAS as BUILT_IN
from tests.segmentations import POSITIONS

PERSONAS, IDS = BUILT_IN.segments, BUILT_IN.segment_ids
PURCHASES, SPEND, AGE, INCOME, URBANICITY = range(5)


def at(persona: str) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    return np.asarray(POSITIONS[IDS.index(persona)])


def test_the_personas_are_as_marketing_describes_them() -> None:
    assert IDS == (
        "young-professionals",
        "families",
        "retirees",
        "students",
        "high-value-customers",
    )
    assert POSITIONS[:, SPEND].argmax() == IDS.index("high-value-customers")
    assert POSITIONS[:, PURCHASES].argmax() == IDS.index("high-value-customers")
    assert POSITIONS[:, AGE].argmax() == IDS.index("retirees")
    assert POSITIONS[:, AGE].argmin() == IDS.index("students")
    assert POSITIONS[:, URBANICITY].argmin() == IDS.index("retirees")
    for poor in ("students", "retirees"):
        assert at(poor)[INCOME] < 0
    for rich in ("young-professionals", "high-value-customers"):
        assert min(at(rich)[INCOME], at(rich)[URBANICITY]) > 0
    assert np.abs(at("families")).max() < 0.5


@given(st.permutations(range(5)), st.integers(0, 2**32 - 1))
def test_clusters_near_the_personas_get_their_names(order: list[int], seed: int) -> None:
    noise = np.random.default_rng(seed).uniform(-0.1, 0.1, (5, 5))
    assert match(POSITIONS[order] + noise, PERSONAS) == tuple(IDS[i] for i in order)


@given(st.integers(0, 2**32 - 1))
def test_no_other_naming_is_nearer_in_sum(seed: int) -> None:
    rng = np.random.default_rng(seed)
    centroids = rng.normal(size=(5, 5))
    centroids[rng.random((5, 5)) < 0.3] = np.nan
    cost = np.nansum((centroids[:, None] - POSITIONS) ** 2, axis=2)
    least = min(cost[range(5), order].sum() for order in permutations(range(5)))
    named = match(centroids, PERSONAS)
    assert sorted(named) == sorted(IDS)
    assert cost[range(5), [IDS.index(name) for name in named]].sum() == pytest.approx(least)


def test_profiles_alone_or_purchases_alone_are_enough_for_a_name() -> None:
    known = np.where(np.arange(5) >= AGE, POSITIONS, np.nan)
    assert match(known, PERSONAS)[IDS.index("retirees")] == "retirees"
    known = np.where(np.arange(5) < AGE, POSITIONS, np.nan)
    assert match(known, PERSONAS) == IDS


@given(st.integers(0, 2**32 - 1))
def test_by_behaviour_alone_the_most_active_are_high_value_and_the_least_are_retirees(
    seed: int,
) -> None:
    # Clusters along one line, as purchases and spend form them: more purchases mean more spend.
    rng = np.random.default_rng(seed)
    activity = np.array([-1.6, -0.7, 0.0, 0.7, 1.4]) + rng.uniform(-0.3, 0.3, 5)
    order = rng.permutation(5)
    centroids = np.full((5, 5), np.nan)
    centroids[:, PURCHASES] = activity[order]
    centroids[:, SPEND] = activity[order] + rng.uniform(-0.1, 0.1, 5)
    named = match(centroids, PERSONAS)
    assert named[int(centroids[:, PURCHASES].argmax())] == "high-value-customers"
    assert named[int(centroids[:, PURCHASES].argmin())] == "retirees"


def test_a_cluster_of_which_nothing_is_known_gets_the_name_left_over() -> None:
    centroids = POSITIONS.copy()
    centroids[2] = np.nan
    assert match(centroids, PERSONAS) == IDS


def test_names_stay_until_others_suit_far_better() -> None:
    swapped = list(IDS)
    swapped[1], swapped[3] = swapped[3], swapped[1]
    between = POSITIONS.copy()
    between[[1, 3]] = POSITIONS[[1, 3]].mean(axis=0)
    between[1] = 0.52 * POSITIONS[1] + 0.48 * POSITIONS[3]
    assert match(between, PERSONAS) == IDS
    assert suitable(between, swapped, PERSONAS) == tuple(swapped), "hardly better"
    assert suitable(POSITIONS, swapped, PERSONAS) == IDS


def test_another_number_of_clusters_is_refused() -> None:
    with pytest.raises(ValueError, match="segments need centroids of shape"):
        match(POSITIONS[:4], PERSONAS)


@given(st.permutations(range(5)), st.integers(0, 2**32 - 1))
def test_names_persist_over_generations(order: list[int], seed: int) -> None:
    names, old = tuple(IDS[i] for i in order), POSITIONS[order]
    moved = old + np.random.default_rng(seed).uniform(-0.1, 0.1, old.shape)
    assert match_successors(moved, old, names, PERSONAS) == names
    moved[0, 1] = np.nan
    assert match_successors(moved, old, names, PERSONAS) == names
