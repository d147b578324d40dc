"""Totals of a record's tiles in the window that ends at the clock."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from livesegments.features.record_codec import Records


@dataclass(frozen=True, slots=True)
class Window:
    """Purchases (n,) and spend in cents (n,) of the window."""

    purchases: NDArray[np.int64]
    cents: NDArray[np.int64]


def reaches_back(records: Records, clock_tile: int) -> bool:
    """Return whether a record has a purchase in the first tile of its window."""
    tiles = records["counts"].shape[1]
    first = clock_tile - tiles + 1
    counts = records["counts"][np.arange(len(records)), first % tiles]
    # A slot holds the first tile only if the record's own window still includes it.
    return bool(np.any((counts > 0) & (records["head"] >= first)))


def window(records: Records, clock_tile: NDArray[np.int64] | int) -> Window:
    """Sum each record over its window: the clock's tile and the preceding ones, one per slot.

    ``clock_tile`` (scalar, or (n,)) is at or after each record's head, since a partition's clock
    has advanced past all its events.
    """
    tiles = records["counts"].shape[1]
    ends = records["head"][:, None]
    tile_in_slot = ends - (ends - np.arange(tiles)) % tiles
    inside = tile_in_slot > np.reshape(clock_tile, (-1, 1)) - tiles
    return Window(
        purchases=np.where(inside, records["counts"], 0).sum(axis=1),
        cents=np.where(inside, records["cents"], 0).sum(axis=1),
    )
