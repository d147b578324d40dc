"""Explanations of a row's cluster: the terms of its distance and the least change to move it."""

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from livesegments.model.counterfactuals import (
    Axis,
    contributions,
    goes_to,
    smallest_change,
    takeover_interval,
)
from livesegments.model.generation import Generation
from livesegments.model.snapshot import ModelSnapshot
from livesegments.model.vectors import squared_distances

Floats = npt.NDArray[np.float64]
K, D = 4, 3
COUNTED = Axis(1.0, 1.0, 1e5, np.log1p, np.expm1)
PLAIN = Axis(0.5, -40.0, 40.0, np.asarray, np.asarray)
AXES = (COUNTED, PLAIN, PLAIN)
APART = np.sqrt(np.array([2, 3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37])).reshape(K, D) / 100


@st.composite
def views(draw: st.DrawFn) -> ModelSnapshot:
    """Snapshots with arbitrary clusters, no two of them equally far from a customer."""
    coordinates = st.floats(-5, 9, width=32)
    rows = draw(st.lists(st.lists(coordinates, min_size=D, max_size=D), min_size=K, max_size=K))
    spread = draw(st.lists(st.floats(0.1, 5), min_size=D, max_size=D))
    return ModelSnapshot.of(
        Generation(
            number=1,
            centroids=np.array(rows) + APART,
            mean=np.zeros(D),
            variance=np.array(spread),
            sizes=(1,) * K,
            segments=tuple("abcd"),
        ),
        None,
    )


@st.composite
def customers(draw: st.DrawFn) -> Floats:
    """Rows on the axes, the last feature sometimes unknown."""
    bought = np.log1p(draw(st.integers(1, 400)))
    others = draw(st.tuples(*[st.integers(-16, 16)] * 2))
    unknown = draw(st.booleans())
    return np.array([bought, others[0] / 2, np.nan if unknown else others[1] / 2])


margins = st.sampled_from([0.0, 0.15, 0.4])
pairs = st.permutations(range(K)).map(lambda order: tuple(order[:2]))


def changed(row: Floats, feature: int, values: Floats) -> Floats:
    rows = np.repeat(row[None], len(values), axis=0)
    rows[:, feature] = AXES[feature].forward(values)
    return rows


@given(customers(), views())
def test_contributions_add_up_to_the_squared_distances(row: Floats, view: ModelSnapshot) -> None:
    parts = contributions(row, view.centroids, view.weights)
    assert (parts >= 0).all()
    assert parts.sum(axis=1) == pytest.approx(
        squared_distances(row[None], view.centroids, view.weights)[0]
    )
    assert (parts[:, np.isnan(row)] == 0).all()


@given(customers(), views(), pairs, st.integers(0, D - 1), margins)
def test_the_said_change_moves_a_customer_and_a_smaller_one_does_not(
    row: Floats, view: ModelSnapshot, pair: tuple[int, int], feature: int, margin: float
) -> None:
    axis = AXES[feature]
    value = smallest_change(row, feature, axis, *pair, view, margin)
    assume(value is not None)
    assert value is not None
    now = float(axis.backward(row[feature]))
    assert goes_to(changed(row, feature, np.array([value])), *pair, view, margin).all()

    steps = round((value - now) / axis.step)
    assert value == pytest.approx(now + steps * axis.step)
    # At most as far in the other direction, too.
    smaller: Floats = now + axis.step * np.arange(-abs(steps) + 1, abs(steps), dtype=np.float64)
    smaller = smaller[(smaller >= axis.least) & (smaller <= axis.most)]
    assert not goes_to(changed(row, feature, smaller), *pair, view, margin).any()


@given(customers(), views(), pairs, st.integers(0, D - 1), margins)
def test_no_change_is_said_only_where_none_moves_them(
    row: Floats, view: ModelSnapshot, pair: tuple[int, int], feature: int, margin: float
) -> None:
    axis = AXES[feature]
    assume(not np.isnan(row[feature]))
    assume(smallest_change(row, feature, axis, *pair, view, margin) is None)
    now = float(axis.backward(row[feature]))
    tried: Floats = now + axis.step * np.arange(-2_000, 2_000, dtype=np.float64)
    tried = tried[(tried >= axis.least) & (tried <= axis.most)]
    assert not goes_to(changed(row, feature, tried), *pair, view, margin).any()


@given(customers(), views(), pairs, st.integers(0, D - 1), margins)
def test_inside_the_interval_they_go_over_and_outside_they_do_not(
    row: Floats, view: ModelSnapshot, pair: tuple[int, int], feature: int, margin: float
) -> None:
    interval = takeover_interval(row, feature, *pair, view, margin)
    assume(interval is not None)
    assert interval is not None
    lowest, highest = np.clip(interval, -100, 100)
    assume(highest - lowest > 1e-3)
    rows = np.repeat(row[None], 3, axis=0)
    rows[:, feature] = np.linspace(lowest, highest, 5)[1:-1]
    assert goes_to(rows, *pair, view, margin).all()
    rows[:, feature] = [lowest - 1e-3, highest + 1e-3, lowest - 5]
    outside = goes_to(rows, *pair, view, margin)
    assert not outside[:1].any() or lowest == -100
    assert not outside[1:2].any() or highest == 100


def test_an_unknown_feature_and_one_that_is_the_same_for_all_move_nobody() -> None:
    view = ModelSnapshot.of(
        Generation(
            number=1,
            centroids=np.array([[0.0, 1.0], [4.0, 1.0]]),
            mean=np.zeros(2),
            variance=np.array([1.0, 0.0]),
            sizes=(1, 1),
            segments=("a", "b"),
        ),
        None,
    )
    assert takeover_interval(np.array([np.nan, 1.0]), 0, 0, 1, view, 0.15) is None
    assert takeover_interval(np.array([0.0, 1.0]), 1, 0, 1, view, 0.15) is None


def test_who_goes_over_as_they_stand_needs_no_change() -> None:
    view = ModelSnapshot.of(
        Generation(
            number=1,
            centroids=np.array([[0.0], [4.0]]),
            mean=np.zeros(1),
            variance=np.ones(1),
            sizes=(1, 1),
            segments=("a", "b"),
        ),
        None,
    )
    assert smallest_change(np.array([3.5]), 0, PLAIN, 0, 1, view, 0.15) == 3.5
    assert smallest_change(np.array([1.5]), 0, PLAIN, 0, 1, view, 0.15) == 2.5
