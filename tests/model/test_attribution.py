from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from livesegments.model.attribution import attribute, gap_parts, gaps_from
from livesegments.model.snapshot import ModelSnapshot
from livesegments.model.vectors import Floats, squared_distances

K, M = 4, 6
HALF = 2.0**-10
"""Relative error of a remembered gap, and of one compared with it."""

values = st.floats(-8, 8).map(lambda value: round(value * 2**20) / 2**20)
unknown = values | st.just(np.nan)


@st.composite
def snapshots(draw: st.DrawFn, d: int) -> ModelSnapshot:
    std = draw(arrays(np.float64, d, elements=st.floats(0.1, 5)))
    weights = np.where(draw(arrays(np.bool_, d)), 0.0, 1 / std**2)
    return ModelSnapshot(draw(arrays(np.float64, (K, d), elements=values)), std, std, weights)


@st.composite
def moves(draw: st.DrawFn) -> Any:
    d = draw(st.integers(1, 7))
    rows = arrays(np.float64, (M, d), elements=unknown)
    clusters = arrays(np.int64, M, elements=st.integers(0, K - 1))
    then, now = draw(rows), draw(rows)
    stays = draw(arrays(np.bool_, (M, d)))
    now = np.where(stays, then, now)
    return draw(snapshots(d)), draw(snapshots(d)), then, now, draw(clusters), draw(clusters)


def gap(X: Floats, left: Any, entered: Any, by: ModelSnapshot) -> Floats:
    distances = squared_distances(X, by.centroids, by.weights)
    rows = np.arange(len(X))
    return np.asarray(distances[rows, left] - distances[rows, entered])


def remembered(then: Floats, left: Any, entered: Any, by: ModelSnapshot) -> Any:
    return gaps_from(then, left, by)[np.arange(len(then)), entered]


@given(moves())
def test_the_parts_add_up_to_the_move(drawn: Any) -> None:
    before, after, then, now, left, entered = drawn
    parts = attribute(now, then, left, entered, remembered(then, left, entered, before), after)
    start, end = gap(then, left, entered, before), gap(now, left, entered, after)
    error = HALF * (np.abs(start) + np.abs(gap(then, left, entered, after))) + 1e-6
    np.testing.assert_array_less(
        np.abs(parts.features.sum(axis=1) + parts.model - (end - start)), error
    )
    same = (now == then) | (np.isnan(now) & np.isnan(then))
    assert (parts.features[same] == 0).all()


@given(moves())
def test_a_model_that_did_not_move_has_no_part(drawn: Any) -> None:
    _, still, then, now, left, entered = drawn
    parts = attribute(now, then, left, entered, remembered(then, left, entered, still), still)
    assert (parts.model == 0).all()


@given(moves())
def test_without_an_earlier_place_the_features_add_up_to_the_gap(drawn: Any) -> None:
    _, after, then, now, left, entered = drawn
    nowhere = np.full(M, np.nan, np.float16)
    parts = attribute(now, then, left, entered, nowhere, after)
    np.testing.assert_allclose(parts.features, gap_parts(now, left, entered, after))
    np.testing.assert_allclose(
        parts.features.sum(axis=1), gap(now, left, entered, after), atol=1e-6
    )
    assert np.isnan(parts.model).all()


def test_a_gap_beyond_half_precision_is_remembered_as_the_largest() -> None:
    far = ModelSnapshot(np.array([[0.0], [1e6]]), *(np.ones(1),) * 3)
    assert np.isfinite(gaps_from(np.zeros((1, 1)), np.array([0]), far)).all()
