import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from livesegments.features.aggregate import aggregate_purchases
from livesegments.features.feature_specs import BY_NAME
from livesegments.features.record_codec import RecordShape, empty
from livesegments.features.window import Tiling, Window, tiles_since_purchase, window
from livesegments.model.vectors import dequantize, quantize
from tests.consumers.harness import SHAPE
from tests.segmentations import PERSONAS, RFM, of_size


def test_the_features_are_in_the_order_of_the_contract() -> None:
    assert PERSONAS.feature_names == ("purchases", "spend", "age", "income", "urbanicity")


def test_a_vector_holds_logs_of_purchases_spend_and_income() -> None:
    records = empty(1, SHAPE)
    records["age"], records["income"], records["urbanicity"] = 40.5, np.e**2, 0.5
    at = Window(np.array([3]), np.array([100 * 9]), 4, 4.0)
    assert PERSONAS.vectors(records, at).round(12).tolist() == [
        [round(np.log(4), 12), round(np.log(10), 12), 40.5, 2.0, 0.5]
    ]


def test_what_a_profile_does_not_say_is_nan() -> None:
    at = Window(np.array([0]), np.array([0]), 4, 4.0)
    [vector] = PERSONAS.vectors(empty(1, SHAPE), at)
    assert vector[:2].tolist() == [0.0, 0.0]
    assert np.isnan(vector[2:]).all()


def test_spend_is_nothing_when_refunds_exceed_purchases() -> None:
    at = Window(np.array([1]), np.array([-700]), 4, 4.0)
    assert PERSONAS.vectors(empty(1, SHAPE), at)[0, 1] == 0.0


@given(
    st.lists(
        st.tuples(
            st.integers(0, 10**6),
            st.integers(0, 10**12),
            st.floats(0, 128),
            st.floats(1, 1e9) | st.just(np.nan),
        ),
        max_size=5,
    )
)
def test_natural_units_undo_the_logs(rows: list[tuple[int, int, float, float]]) -> None:
    records = empty(len(rows), SHAPE)
    records["age"] = [row[2] for row in rows]
    records["income"] = [row[3] for row in rows]
    at = Window(
        np.array([r[0] for r in rows], np.int64), np.array([r[1] for r in rows], np.int64), 4, 4.0
    )
    units = PERSONAS.natural(PERSONAS.vectors(records, at))
    expected = np.column_stack(
        [at.purchases, at.cents / 100, records["age"], records["income"], records["urbanicity"]]
    ).astype(np.float64)
    np.testing.assert_allclose(units, expected, rtol=1e-9, atol=1e-9)


def test_natural_leaves_its_argument_alone() -> None:
    given_vectors = np.ones((1, 5))
    PERSONAS.natural(given_vectors)
    assert given_vectors.tolist() == [[1.0] * 5]


def recent(*tiles: int, clock_tile: int = 9) -> float:
    """The recency of a customer with purchases in some tiles of 4 days, 6 to a window."""
    layout = Tiling(window_days=24, tiles=6)
    records = empty(1, RecordShape(6, 3, 3))
    for tile in tiles:
        one = np.ones(1, np.int64)
        aggregate_purchases(records, 0 * one, tile * one, one, one, 0 * one)
    [vector] = RFM.vectors(records, window(records, clock_tile, layout))
    return float(vector[2])


def test_recency_is_the_days_since_the_last_purchase_in_thirds_of_the_window() -> None:
    assert [recent(4, tile) for tile in range(9, 3, -1)] == [0, 0, 8, 8, 16, 16]
    assert recent(9, 5) == 0, "purchases that arrive late change nothing"
    assert recent(10) == 0, "the clock may have been read before the newest purchase"


@pytest.mark.parametrize(("days", "tiles"), [(24, 6), (90, 30), (28, 14), (8, 4), (1, 1)])
def test_a_recency_has_as_many_values_as_its_steps_say(days: int, tiles: int) -> None:
    records, layout = empty(tiles, RecordShape(tiles, 1, 3)), Tiling(days, tiles)
    records["head"] = np.arange(tiles)
    records["counts"][range(tiles), range(tiles)] = 1
    found = BY_NAME["recency"].measure(records, window(records, tiles - 1, layout))
    step, most = BY_NAME["recency"].steps(layout)
    assert sorted(set(found)) == np.arange(0, most + step / 2, step).tolist()


def test_a_recency_is_one_that_the_model_counts() -> None:
    layout = Tiling(window_days=3660, tiles=3)
    records = empty(1, RecordShape(3, 3, 3))
    records["counts"][:, 0] = 1
    vectors = RFM.vectors(records, window(records, 2, layout))
    assert dequantize(quantize(vectors))[0, 2] == vectors[0, 2] == 2000


def test_refunds_are_no_purchases() -> None:
    records = empty(1, RecordShape(6, 3, 3))
    one = np.ones(1, np.int64)
    aggregate_purchases(records, 0 * one, 5 * one, one, 900 * one, 0 * one)
    aggregate_purchases(records, 0 * one, 9 * one, 0 * one, -900 * one, 0 * one)
    assert tiles_since_purchase(records, 9).tolist() == [4]


@given(st.lists(st.integers(0, 40), max_size=12), st.integers(0, 60))
def test_the_last_purchase_is_found_wherever_it_is_in_the_ring(tiles: list[int], more: int) -> None:
    records = empty(1, RecordShape(6, 3, 3))
    one = np.ones(1, np.int64)
    for tile in tiles:
        aggregate_purchases(records, 0 * one, tile * one, one, one, 0 * one)
    clock_tile = max(tiles, default=0) + more
    expected = min(more, 6) if tiles else 6
    assert tiles_since_purchase(records, clock_tile).tolist() == [expected]


def test_a_basket_is_the_spend_of_a_purchase_and_unknown_without_one() -> None:
    three = of_size(3, "spend", "basket", "age")
    at = Window(np.array([3, 2, 0]), np.array([900, -500, 0]), 4, 4.0)
    basket = three.natural(three.vectors(empty(3, SHAPE), at))[:, 1]
    np.testing.assert_allclose(basket, [3.0, 0.0, np.nan])
