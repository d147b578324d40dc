import numpy as np

from livesegments.features.window import window
from tests.livesegments.features.events import DAY, LAYOUT, Bought, fold_batches


def test_a_window_is_the_clocks_tile_and_those_before_it_as_many_as_tiles() -> None:
    records, _ = fold_batches([[Bought(0, 100), Bought(4 * DAY, 200), Bought(19 * DAY, 400)]])
    seen = [window(records, tile, LAYOUT).cents.tolist()[0] for tile in range(4, 11)]
    assert seen == [700, 600, 400, 400, 400, 0, 0]


def test_each_record_may_have_a_clock_of_its_own() -> None:
    records, _ = fold_batches([[Bought(0, 100)]])
    both = np.concatenate([records, records])
    at = window(both, np.array([LAYOUT.tiles - 1, LAYOUT.tiles]), LAYOUT)
    assert at.purchases.tolist() == [1, 0]
