"""Plots as SVG."""

from itertools import pairwise

import pytest

from livesegments.rendering import plots


@pytest.mark.parametrize(("low", "high"), [(0, 0), (0, 7), (1.0, 1.0004), (0.98, 31), (0, 2e6)])
def test_ticks_reach_over_all_values_in_equal_steps(low: float, high: float) -> None:
    found = plots.ticks(low, high)
    assert found[0] <= low
    assert found[-1] >= high
    assert 2 <= len(found) <= 7
    steps = [b - a for a, b in pairwise(found)]
    assert steps == pytest.approx([steps[0]] * len(steps))


def test_long_histories_are_thinned_to_what_can_be_seen() -> None:
    days = [f"d{i}" for i in range(5_000)]
    series = {"a": list(range(5_000))}
    assert len(plots.areas(days, series, {"a": "c0"}, "a long time in days")) < 20_000
    assert plots.bars(days, series, {"a": "c0"}, "a long time in days").count("<rect") <= 60


def test_a_history_of_one_day_can_be_drawn() -> None:
    one = ["2026-01-01"], {"a": [3]}, {"a": "c0"}, "a single day of all"
    for svg in (plots.areas(*one), plots.bars(*one)):
        assert "nan" not in svg
