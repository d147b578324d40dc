"""Forecast of the customers that leave their segment, unless they buy."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from livesegments.consumers.scoring import score
from livesegments.domain import Model, ProcessingConfig
from livesegments.features.record_codec import Records
from livesegments.features.window import Tiling

STAYS = -1


class Departures(NamedTuple):
    """Forecast departures of n customers.

    Attributes
    ----------
    tiles
        (n,) tiles from the clock's tile to that of the departure, 0 for at once; `STAYS` for none
        up to the horizon.
    segment
        (n,) index of the next segment, -1 for none.
    margin
        (n,) how much farther the nearest other centroid is now than its own, as a share; below 0
        another one is nearer, and the switch margin or the dwell holds the customer.
    """

    tiles: NDArray[np.int64]
    segment: NDArray[np.int8]
    margin: NDArray[np.float64]


def forecast_departures(
    records: Records, clock_us: int, horizon_tiles: int, model: Model, config: ProcessingConfig
) -> Departures:
    """Advance the window of n customers in a segment until the service's rules switch.

    They buy nothing, and the centroids do not change.
    """
    layout = config.layout
    here = records["segment"].copy()
    tiles = np.full(len(records), STAYS, np.int64)
    segment = here.copy()
    margin = np.empty(len(records))
    clock_tile = layout.tile(clock_us)
    staying = np.arange(len(records))
    for ahead in range(horizon_tiles + 1):
        at_us = departure_us(ahead, clock_us, layout)
        scores = score(records[staying], clock_tile + ahead, at_us, model, config)
        if ahead == 0:
            own = model.cluster_of_segment[here]
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
