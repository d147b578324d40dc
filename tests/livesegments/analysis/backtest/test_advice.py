"""Segmentations are compared by numbers that mean something, and one is recommended."""

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from livesegments.analysis.backtest.advice import (
    Fitness,
    adjusted_rand_index,
    fitness,
    recommend,
)
from livesegments.analysis.backtest.variants import unnamed, variants
from livesegments.config.settings import load
from tests.livesegments.analysis.backtest.shop import events, feed, history, rows
from tests.segmentations import PERSONAS, RFM

GOOD = Fitness(
    segments=5,
    explained_variance=0.7,
    silhouette=0.5,
    stability=0.9,
    smallest_share=0.1,
    persona_distance=0.4,
)
LABELS = st.lists(st.integers(0, 4), min_size=2, max_size=60)


@given(LABELS, st.permutations(range(5)))
def test_the_same_clusters_agree_fully_whatever_their_numbers(
    labels: list[int], order: list[int]
) -> None:
    a = np.array(labels, np.int8)
    assert adjusted_rand_index(a, np.array(order, np.int8)[a]) == pytest.approx(1)


def test_the_index_is_that_of_the_literature() -> None:
    a, b = np.array([0, 0, 0, 1, 1, 1], np.int8), np.array([0, 0, 1, 1, 2, 2], np.int8)
    assert adjusted_rand_index(a, b) == pytest.approx(0.24242424)  # scikit-learn's example


def test_chance_agrees_not_at_all() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.integers(0, 5, (2, 5_000)).astype(np.int8)
    assert abs(adjusted_rand_index(a, b)) < 0.01


def test_a_history_is_rated_once_it_has_a_model() -> None:
    assert fitness(history(), [], is_named=True) is None
    found = history()
    feed(found, events(rows()))
    rated = fitness(found, [{"persona_distance": 0.7}], is_named=True)
    assert rated is not None
    assert rated.segments == 5
    assert rated.persona_distance == 0.7
    assert 0 < rated.explained_variance < 1
    assert 0 < rated.stability <= 1
    unnamed_rated = fitness(found, [{"persona_distance": 0.7}], is_named=False)
    assert unnamed_rated == replace(rated, persona_distance=None)


def test_the_clearest_stable_segmentation_is_recommended() -> None:
    clear, shaky = replace(GOOD, silhouette=0.6), replace(GOOD, silhouette=0.9, stability=0.5)
    told = recommend([("a", GOOD, 1.0), ("b", clear, 9.0), ("c", shaky, 0.1)], "a")
    assert told.startswith("Take b: silhouette 0.60, stability 0.90")


def test_of_nearly_equal_ones_the_quietest_is_recommended() -> None:
    other = replace(GOOD, silhouette=0.49)
    assert "fewest changes of 2" in recommend([("a", GOOD, 9.0), ("b", other, 2.0)], "a")
    assert recommend([("a", GOOD, 1.0), ("b", other, 2.0)], "a").startswith("Keep a: nothing")


def test_where_nothing_is_sound_none_is_recommended() -> None:
    tiny = replace(GOOD, smallest_share=0.01)
    shaky = replace(GOOD, stability=0.3)
    assert recommend([("a", tiny, 1.0), ("b", shaky, 1.0)], "a").startswith("None to recommend")


def test_a_name_that_does_not_suit_is_told() -> None:
    far = replace(GOOD, silhouette=0.6, persona_distance=1.4)
    assert "names do not suit" in recommend([("a", GOOD, 1.0), ("b", far, 1.0)], "a")


def test_numbers_of_clusters_and_segmentations_are_compared() -> None:
    given_settings = load()
    found = variants(given_settings, ["k=3,5"], partial(load, None))
    assert [(each.label, each.is_given) for each in found] == [
        ("as set", True),
        ("k=3", False),
        ("k=5", False),
    ]
    assert found[1].clusters == unnamed(PERSONAS, "3")
    found = variants(given_settings, ["segmentation=personas,rfm"], partial(load, None))
    assert [each.is_given for each in found] == [True, False]
    assert found[1].settings.read_segmentation() == RFM


@pytest.mark.parametrize("compare", ["k=1", "k=13", "k=few", "segmentation=nowhere.toml"])
def test_what_cannot_be_compared_is_refused(compare: str) -> None:
    with pytest.raises(ValueError, match=f"--compare {compare}"):
        variants(load(), [compare], partial(load, None))
