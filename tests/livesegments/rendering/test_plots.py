"""Plots as SVG."""

from datetime import date
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
    days = [f"{date.fromordinal(735_000 + i)}" for i in range(5_000)]
    some = plots.series([("a", list(range(5_000)))])
    [area] = plots.areas(days, some).shapes
    assert area.path.count(",") == 2 * 240
    assert len(plots.bars(days, some).shapes) <= 60


def test_a_history_of_one_day_can_be_drawn() -> None:
    days, some = ["2026-01-01"], plots.series([("a", [3])])
    for plot in (plots.areas(days, some), plots.bars(days, some), plots.lines(days, [0], some, 1)):
        assert plot.dates == ["1 Jan 2026"]
        assert all("nan" not in shape.path for shape in plot.shapes)
    [area] = plots.areas(days, some).shapes
    assert area.path == "M0.0,0.0 1000.0,0.0 1000.0,1000.0 0.0,1000.0Z"
    assert area.title == "a: 3 at the end"


def test_hours_are_called_hours() -> None:
    hours, some = ["2026-01-01T09", "2026-01-01T10"], plots.series([("live", [3, 4])])
    plot = plots.bars(hours, some)
    assert plot.dates == ["1 Jan 2026 09:00", "1 Jan 2026 10:00"]
    assert plot.shapes[1].title == "1 Jan 2026 10:00: 4.0 an hour by live"


def test_the_rows_of_a_table_are_spread_from_the_first_to_the_last() -> None:
    assert plots.spread(0) == []
    assert plots.spread(3) == [0, 1, 2]
    assert (len(plots.spread(400)), plots.spread(400)[0], plots.spread(400)[-1]) == (13, 0, 399)
