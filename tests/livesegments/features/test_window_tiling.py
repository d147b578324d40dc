import numpy as np
import pytest

from livesegments.features.window import Tiling


def test_a_tile_is_the_floor_of_epoch_seconds_by_tile_seconds() -> None:
    layout = Tiling(90, 30)
    assert layout.tile_us == 259_200_000_000
    assert layout.tile(259_199_999_999) == 0
    assert layout.tile(259_200_000_000) == 1
    assert layout.tile_of(np.array([0, 259_200_000_000])).tolist() == [0, 1]
    assert layout.end(0) == 259_200_000_000


@pytest.mark.parametrize(("window_days", "tiles"), [(0, 1), (1, 0), (-90, 30)])
def test_a_window_has_at_least_a_day_and_a_tile(window_days: int, tiles: int) -> None:
    with pytest.raises(ValueError, match="at least 1"):
        Tiling(window_days, tiles)


def test_a_window_that_does_not_split_into_whole_seconds_is_refused_with_the_numbers() -> None:
    with pytest.raises(ValueError, match="90 days does not split into 77 tiles"):
        Tiling(90, 7 * 11)
    assert Tiling(1, 86_400).tile_us == 1_000_000
