"""Time until customers leave their segment if they buy nothing more."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from livesegments.analysis.survey.departures import STAYS, departure_us, forecast_departures
from livesegments.features.record_codec import Records, empty
from tests.consumers.harness import (
    DAY,
    HIGH_VALUE,
    LAYOUT,
    MEAN,
    RULES,
    SEGMENTS,
    SHAPE,
    STD,
    model,
    switching,
)

MODEL = model(turn=2)
CLOCK_TILE = 5_000
CLOCK_US = CLOCK_TILE * LAYOUT.tile_us + DAY
VALUED = SEGMENTS.index(HIGH_VALUE)
MARGIN = 0.15


def bought(tiles: list[list[tuple[int, int]]]) -> Records:
    """Customers by (purchases, cents) in the tiles of their window, the oldest first."""
    records = empty(len(tiles), SHAPE)
    records["head"], records["segment"] = CLOCK_TILE, VALUED
    for row, of in enumerate(tiles):
        for i, (count, cents) in enumerate(of):
            slot = (CLOCK_TILE - LAYOUT.tiles + 1 + i) % LAYOUT.tiles
            records["counts"][row, slot], records["cents"][row, slot] = count, cents
    return records


def expected(of: list[tuple[int, int]], horizon: int) -> tuple[int, int]:
    """Tiles until a customer leaves and the destination, computed tile by tile."""
    for ahead in range(horizon + 1):
        left = of[ahead:]
        count, cents = sum(n for n, _ in left), sum(c for _, c in left)
        if count == 0:
            return ahead, -1
        place = (np.array([np.log1p(count), np.log1p(max(cents, 0) / 100)]) - MEAN[:2]) / STD[:2]
        z = {
            segment: (MODEL.snapshot.centroids[i, :2] - MEAN[:2]) / STD[:2]
            for i, segment in enumerate(MODEL.generation.segments)
        }
        near = {segment: float(np.hypot(*(place - there))) for segment, there in z.items()}
        best = min(near, key=lambda segment: near[segment])
        if best != HIGH_VALUE and near[best] <= (1 - MARGIN) * near[HIGH_VALUE]:
            return ahead, SEGMENTS.index(best)
    return STAYS, VALUED


TILE = st.tuples(st.integers(0, 60), st.integers(0, 90_000)).map(
    lambda tile: tile if tile[0] else (0, 0)
)


@given(
    st.lists(st.lists(TILE, min_size=5, max_size=5), min_size=1, max_size=6),
    st.integers(0, 7),
)
def test_it_is_as_if_the_window_moved_on_tile_by_tile(
    tiles: list[list[tuple[int, int]]], horizon: int
) -> None:
    found = forecast_departures(bought(tiles), CLOCK_US, horizon, MODEL, RULES)
    wanted = [expected(of, horizon) for of in tiles]
    assert list(zip(found.tiles.tolist(), found.segment.tolist(), strict=True)) == wanted


def test_a_dwell_holds_them_for_as_long_as_it_says() -> None:
    records = bought([[(40, 300_000), (0, 0), (0, 0), (0, 0), (1, 500)]])
    records["since"] = CLOCK_US - DAY
    free = forecast_departures(records, CLOCK_US, 4, MODEL, RULES)
    held = forecast_departures(records, CLOCK_US, 4, MODEL, switching(RULES, min_dwell_us=9 * DAY))
    assert free.tiles.tolist() == [1]
    assert held.tiles.tolist() == [3]  # 4 days a tile: the third begins after nine


def test_the_margin_says_how_much_farther_the_next_centroid_is() -> None:
    found = forecast_departures(bought([[(20, 90_000)] * 5]), CLOCK_US, 0, MODEL, RULES)
    assert found.tiles.tolist() == [STAYS]
    assert found.margin[0] > 0


def test_who_leaves_at_once_does_so_now_and_others_when_a_tile_begins() -> None:
    assert departure_us(0, CLOCK_US, LAYOUT) == CLOCK_US
    assert departure_us(2, CLOCK_US, LAYOUT) == (CLOCK_TILE + 2) * LAYOUT.tile_us
