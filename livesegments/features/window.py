"""Tiles of event time, and the totals of a record's tiles in the window that ends at the clock."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from livesegments.features.record_codec import Records, tiles_in_slots

DAY_US = 86_400_000_000


@dataclass(frozen=True, slots=True)
class Tiling:
    """A window of ``window_days`` in ``tiles`` tiles of equal length.

    A tile's number is ``floor(epoch time / tile length)``, so it depends only on the event's own
    time and not on earlier arrivals.

    Raises
    ------
    ValueError
        If the window does not divide into tiles of whole seconds.

    Examples
    --------
    >>> layout = Tiling(window_days=90, tiles=30)
    >>> layout.tile_us // 1_000_000
    259200
    >>> layout.tile(1_483_228_800_000_000)
    5722
    """

    window_days: int
    tiles: int
    tile_us: int = field(init=False)
    """Length of a tile in microseconds."""

    def __post_init__(self) -> None:
        if self.window_days < 1 or self.tiles < 1:
            raise ValueError("window_days and tiles must be at least 1")
        if (self.window_days * DAY_US) % (self.tiles * 1_000_000):
            raise ValueError(
                f"a window of {self.window_days} days does not split into {self.tiles} tiles of"
                " whole seconds; choose tiles that divide it"
            )
        object.__setattr__(self, "tile_us", self.window_days * DAY_US // self.tiles)

    def tile(self, time_us: int) -> int:
        """Return the tile of one time, in microseconds since the epoch."""
        return time_us // self.tile_us

    def tile_of(self, times_us: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the tiles of many times, in microseconds since the epoch."""
        return times_us // self.tile_us

    def tiles_in(self, days: int) -> int:
        """Return the number of tiles that cover ``days`` days."""
        return -(-days * DAY_US // self.tile_us)

    def end(self, tile: int) -> int:
        """Return the first microsecond after a tile."""
        return (tile + 1) * self.tile_us


@dataclass(frozen=True, slots=True)
class Window:
    """Totals of n records in the windows that end at their clocks.

    Attributes
    ----------
    purchases, cents
        Purchases and spend, (n,).
    clock_tile
        Last tile of each window, (n,), or of all.
    tile_days
        Length of a tile.
    """

    purchases: NDArray[np.int64]
    cents: NDArray[np.int64]
    clock_tile: NDArray[np.int64] | int
    tile_days: float


SUBSTANTIAL = 0.1
"""Share of the mean tile's purchases; a tile with fewer may hold late strays only."""
FULL = 0.75
"""Share of substantial tiles in a full window, as shops close for weeks."""


def purchases_by_tile(records: Records, clock_tile: int) -> NDArray[np.int64]:
    """Return the purchases of all records in each tile of the window, (tiles,), oldest first."""
    tiles = records["counts"].shape[1]
    age = clock_tile - tiles_in_slots(records["head"], tiles)
    # The clock may have been read before a record's newest purchase.
    inside = (age >= 0) & (age < tiles)
    ages = np.bincount(age[inside], records["counts"][inside], minlength=tiles)
    return ages[::-1].astype(np.int64)


def is_full(purchases: NDArray[np.int64]) -> bool:
    """Return whether windows are full, from the purchases in each tile, oldest first.

    They are once the first tile has a purchase and most tiles their share: one old purchase among
    many recent ones fills no window.
    """
    substantial = purchases >= max(SUBSTANTIAL * float(purchases.mean()), 1.0)
    return bool(purchases[0] > 0 and substantial.mean() >= FULL)


def window(records: Records, clock_tile: NDArray[np.int64] | int, layout: Tiling) -> Window:
    """Sum each record over its window: the clock's tile and the preceding ones, one per slot.

    ``clock_tile`` (scalar, or (n,)) is at or after each record's head, since a partition's clock
    has advanced past all its events.
    """
    tiles = layout.tiles
    inside = tiles_in_slots(records["head"], tiles) > np.reshape(clock_tile, (-1, 1)) - tiles
    return Window(
        purchases=np.where(inside, records["counts"], 0).sum(axis=1),
        cents=np.where(inside, records["cents"], 0).sum(axis=1),
        clock_tile=clock_tile,
        tile_days=layout.window_days / tiles,
    )


def last_purchase(records: Records) -> NDArray[np.int64]:
    """Return the tile of the last purchase that is still in the record, (n,); negative for none."""
    tiles = records["counts"].shape[1]
    held = tiles_in_slots(records["head"], tiles)
    return np.asarray(np.where(records["counts"] > 0, held, -tiles).max(axis=1), np.int64)


def tiles_since_purchase(
    records: Records, clock_tile: NDArray[np.int64] | int
) -> NDArray[np.int64]:
    """Return the tiles from the last purchase to the clock, (n,); those of a window without one."""
    return np.clip(clock_tile - last_purchase(records), 0, records["counts"].shape[1])
