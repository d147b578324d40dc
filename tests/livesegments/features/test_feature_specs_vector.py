import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from livesegments.features.record_codec import empty
from livesegments.features.window import Window
from tests.consumers.harness import SHAPE
from tests.segmentations import PERSONAS


def test_the_features_are_in_the_order_of_the_contract() -> None:
    assert PERSONAS.feature_names == ("purchases", "spend", "age", "income", "urbanicity")


def test_a_vector_holds_logs_of_purchases_spend_and_income() -> None:
    records = empty(1, SHAPE)
    records["age"], records["income"], records["urbanicity"] = 40.5, np.e**2, 0.5
    at = Window(np.array([3]), np.array([100 * 9]))
    assert PERSONAS.vectors(records, at).round(12).tolist() == [
        [round(np.log(4), 12), round(np.log(10), 12), 40.5, 2.0, 0.5]
    ]


def test_what_a_profile_does_not_say_is_nan() -> None:
    at = Window(np.array([0]), np.array([0]))
    [vector] = PERSONAS.vectors(empty(1, SHAPE), at)
    assert vector[:2].tolist() == [0.0, 0.0]
    assert np.isnan(vector[2:]).all()


def test_spend_is_nothing_when_refunds_exceed_purchases() -> None:
    at = Window(np.array([1]), np.array([-700]))
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
    at = Window(np.array([r[0] for r in rows], np.int64), np.array([r[1] for r in rows], np.int64))
    units = PERSONAS.natural(PERSONAS.vectors(records, at))
    expected = np.column_stack(
        [at.purchases, at.cents / 100, records["age"], records["income"], records["urbanicity"]]
    ).astype(np.float64)
    np.testing.assert_allclose(units, expected, rtol=1e-9, atol=1e-9)


def test_natural_leaves_its_argument_alone() -> None:
    given_vectors = np.ones((1, 5))
    PERSONAS.natural(given_vectors)
    assert given_vectors.tolist() == [[1.0] * 5]
