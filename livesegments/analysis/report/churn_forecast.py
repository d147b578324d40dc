"""Forecast of departures from a segment without further purchases."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from livesegments.consumers.scoring import score
from livesegments.domain import Hysteresis, Model
from livesegments.features.record_codec import Records
from livesegments.features.window import Tiling

STAYS = -1


@dataclass(frozen=True, slots=True)
class Departures:
    """Departures of n customers.

    Attributes
    ----------
    tiles
        (n,) tiles from the clock's tile to that of the departure, 0 for at once; `STAYS` for none
        up to the horizon.
    segment
        (n,) index of the next segment, -1 for none.
    margin
        (n,) how much farther the nearest other centroid is now than its own, as a share.
    """

    tiles: NDArray[np.int64]
    segment: NDArray[np.int8]
    margin: NDArray[np.float64]

    def columns(self) -> tuple[list[int], list[int], list[float]]:
        """Return the three as lists."""
        return self.tiles.tolist(), self.segment.tolist(), self.margin.tolist()


def forecast_departures(
    records: Records,
    clock_us: int,
    horizon_tiles: int,
    layout: Tiling,
    model: Model,
    switching: Hysteresis,
) -> Departures:
    """Advance the window without purchases until the service's rules switch.

    Parameters
    ----------
    records
        (n,) customers in a segment.
    clock_us
        Clock of their partition.
    horizon_tiles
        Number of tiles to look ahead.
    layout, model, switching
        Of the scoring; the centroids do not change.
    """
    here = records["segment"].copy()
    tiles = np.full(len(records), STAYS, np.int64)
    segment = here.copy()
    margin = np.empty(len(records))
    clock_tile = layout.tile(clock_us)
    staying = np.arange(len(records))
    for ahead in range(horizon_tiles + 1):
        at_us = clock_us if ahead == 0 else layout.end(clock_tile + ahead - 1)
        n = len(staying)
        scores = score(
            records[staying],
            np.full(n, clock_tile + ahead),
            np.full(n, at_us),
            model.kmeans,
            model.segment_of_cluster,
            switching,
        )
        if ahead == 0:
            own = np.argsort(model.segment_of_cluster)[here]
            margin = _beyond(scores.assignment.distances, own)
        leaves = scores.segment != here[staying]
        tiles[staying[leaves]] = ahead
        segment[staying[leaves]] = scores.segment[leaves]
        staying = staying[~leaves]
    return Departures(tiles, segment, margin)


def departure_us(tiles: int, clock_us: int, layout: Tiling) -> int:
    """Return the time of a departure a number of tiles ahead."""
    return clock_us if tiles == 0 else layout.end(layout.tile(clock_us) + tiles - 1)


def _beyond(distances: NDArray[np.float64], own: NDArray[np.intp]) -> NDArray[np.float64]:
    rows = np.arange(len(distances))
    mine = distances[rows, own]
    others = distances.copy()
    others[rows, own] = np.inf
    ratio = np.divide(others.min(axis=1), mine, out=np.full(len(own), np.inf), where=mine > 0)
    return np.asarray(ratio - 1, np.float64)
