"""A feature's baseline: its own sample is at 0, noise stays below the critical value."""

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from livesegments.model.drift import Histogram
from livesegments.model.vectors import Floats

VALUES = st.lists(st.one_of(st.floats(-1e6, 1e6), st.just(float("nan"))), min_size=1, max_size=200)


@given(VALUES, st.integers(2, 12))
def test_every_customer_of_the_sample_is_in_one_bin(values: list[float], bins: int) -> None:
    sample = np.array(values)
    histogram = Histogram.of(sample, bins)
    assert sum(histogram.counts) == len(values)
    assert histogram.counts[-1] == np.isnan(sample).sum()
    assert histogram.psi(sample) == 0


@given(VALUES)
def test_order_does_not_matter(values: list[float]) -> None:
    assert Histogram.of(np.array(values)) == Histogram.of(np.array(values[::-1]))


def test_another_sample_of_the_same_customers_is_noise() -> None:
    rng = np.random.default_rng(0)
    histogram = Histogram.of(rng.normal(size=3_000))
    later = [rng.normal(size=3_000) for _ in range(50)]
    assert max(map(histogram.psi, later)) < histogram.psi_critical_value(3_000)


def test_of_few_customers_more_is_noise() -> None:
    rng = np.random.default_rng(0)
    histogram = Histogram.of(rng.normal(size=50))
    later = [rng.normal(size=50) for _ in range(50)]
    above = sum(histogram.psi(each) > histogram.psi_critical_value(50) for each in later)
    assert above <= 2
    assert max(map(histogram.psi, later)) > 0.1


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda x: x * 2, id="another unit"),
        pytest.param(lambda x: x + 0.5, id="more"),
        pytest.param(lambda x: np.where(np.arange(len(x)) % 4, x, np.nan), id="unknown"),
        pytest.param(lambda x: np.full_like(x, 3.0), id="one value"),
    ],
)
def test_a_change_exceeds_the_critical_value(change: Callable[[Floats], Floats]) -> None:
    rng = np.random.default_rng(0)
    histogram = Histogram.of(rng.normal(size=3_000))
    assert histogram.psi(change(rng.normal(size=3_000))) > histogram.psi_critical_value(3_000)


def test_a_feature_that_nobody_knows_has_no_drift() -> None:
    nobody = np.full(100, np.nan)
    assert Histogram.of(nobody).psi(nobody) == 0


@pytest.mark.parametrize(
    ("edges", "counts"),
    [((1.0,), (1, 2)), ((2.0, 1.0), (1, 1, 1, 1)), ((float("nan"),), (1, 1, 1)), ((), (1, -1))],
)
def test_what_is_no_histogram_is_refused(edges: tuple[float, ...], counts: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="histogram"):
        Histogram(edges, counts)
