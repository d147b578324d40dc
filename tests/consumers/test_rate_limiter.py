"""Sweeps pause at the rate limit of their changes, while polled records are processed."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from livesegments.app import processing_config
from livesegments.config.settings import load
from livesegments.consumers.aggregation import read_requests
from livesegments.consumers.decoding import decode_batch
from livesegments.consumers.partition_state import start_sweep
from livesegments.consumers.rate_limiter import SweepRateLimiter
from tests.consumers.harness import RULES, World, purchase


@given(st.lists(st.tuples(st.integers(0, 50), st.floats(0, 2)), max_size=60))
def test_changes_never_outrun_the_rate_by_more_than_a_stretch(
    stretches: list[tuple[int, float]],
) -> None:
    pace, now, made = SweepRateLimiter(20), 100.0, []
    for changes, seconds in stretches:
        now += seconds
        if now >= pace.free_at:
            pace.made(changes, now)
            made.append((now, changes))
    for i, (since, _) in enumerate(made):
        total = 0
        for until, changes in made[i:]:
            assert total <= 20 * (until - since) + 1e-6
            total += changes


def test_without_a_bound_nothing_ever_pauses() -> None:
    pace = SweepRateLimiter(0)
    pace.made(1_000_000, 0.0)
    assert pace.free_at <= 0


def test_a_sweep_that_must_not_walk_stands_still_while_purchases_count() -> None:
    world = World()
    world.send(*(purchase(f"c{i}", 1) for i in range(8)))
    owned = start_sweep(world.owned[0], 1, RULES, 0)
    nothing = decode_batch({}, RULES, {0: None})
    [walking] = read_requests([owned], nothing, RULES)
    [standing] = read_requests([owned], nothing, RULES, advance_sweeps=False)
    assert walking.scan is not None
    assert standing.scan is None
    assert owned.sweep is not None


@pytest.mark.parametrize(
    ("settings", "rate", "stretch"),
    [
        ({}, 1_000, 500),
        ({"clock": "event"}, 0, 500),
        ({"clock": "event", "max_changes_per_second": 30}, 30, 30),
        ({"max_changes_per_second": 0}, 0, 500),
        ({"max_changes_per_second": 5, "sweep_customers": 2}, 5, 2),
    ],
)
def test_a_stretch_is_at_most_a_second_of_changes(
    settings: dict[str, Any], rate: int, stretch: int
) -> None:
    how = processing_config(load(**settings))
    assert (how.max_changes_per_second, how.sweep_chunk) == (rate, stretch)


def test_customers_are_kept_as_long_as_purchases_or_a_longer_window_unless_set() -> None:
    assert processing_config(load()).retention_tiles == 134
    assert processing_config(load(window_days=900)).retention_tiles == 30
    assert processing_config(load(retention_days=91)).retention_tiles == 31
