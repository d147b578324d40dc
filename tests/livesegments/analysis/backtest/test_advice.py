"""Segmentations are compared by numbers that mean something, and one is recommended."""

from functools import partial

import pytest

from livesegments.analysis.backtest.advice import Fitness, fitness, recommend
from livesegments.analysis.backtest.variants import unnamed, variants
from livesegments.config.settings import load
from tests.livesegments.analysis.backtest.shop import events, feed, history, rows
from tests.segmentations import PERSONAS, RFM

GOOD: Fitness = {
    "segments": 5,
    "explained_variance": 0.7,
    "silhouette": 0.5,
    "stability": 0.9,
    "smallest_share": 0.1,
    "persona_distance": 0.4,
}


def told(*candidates: tuple[str, Fitness, float]) -> str:
    """The recommendation, where the first is given."""
    found = recommend(
        [
            {
                "label": label,
                "is_given": label == candidates[0][0],
                "fitness": fit,
                "stability": {"a_customer_a_year": changes},
            }
            for label, fit, changes in candidates
        ]
    )
    assert found is not None
    return found


def test_a_history_is_rated_once_it_has_a_model() -> None:
    assert fitness(history(), [], is_named=True) is None
    found = history()
    feed(found, events(rows()))
    rated = fitness(found, [{"persona_distance": 0.7}], is_named=True)
    assert rated is not None
    assert rated["segments"] == 5
    assert rated["persona_distance"] == 0.7
    assert 0 < rated["explained_variance"] < 1
    assert 0 < rated["stability"] <= 1
    unnamed_rated = fitness(found, [{"persona_distance": 0.7}], is_named=False)
    assert unnamed_rated == rated | {"persona_distance": None}
    [*_, last] = found.records.values()
    found.store.records = dict.fromkeys(found.records, last)
    assert fitness(found, [{"persona_distance": 0.7}], is_named=True) is None


def test_the_clearest_stable_segmentation_is_recommended() -> None:
    clear, shaky = GOOD | {"silhouette": 0.6}, GOOD | {"silhouette": 0.9, "stability": 0.5}
    found = told(("a", GOOD, 1.0), ("b", clear, 9.0), ("c", shaky, 0.1))
    assert found.startswith("Take b: silhouette 0.60, stability 0.90")


def test_of_nearly_equal_ones_the_quietest_is_recommended() -> None:
    other = GOOD | {"silhouette": 0.49}
    assert "fewest changes of 2" in told(("a", GOOD, 9.0), ("b", other, 2.0))
    assert told(("a", GOOD, 1.0), ("b", other, 2.0)).startswith("Keep a: nothing")


def test_where_nothing_is_sound_none_is_recommended() -> None:
    tiny = GOOD | {"smallest_share": 0.01}
    shaky = GOOD | {"stability": 0.3}
    assert told(("a", tiny, 1.0), ("b", shaky, 1.0)).startswith("None to recommend")


def test_a_name_that_does_not_suit_is_told() -> None:
    far = GOOD | {"silhouette": 0.6, "persona_distance": 1.4}
    assert "names do not suit" in told(("a", GOOD, 1.0), ("b", far, 1.0))


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
