"""When the model is checked: after each sweep, and as centroids travel while windows fill."""

import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace

import numpy as np

from consumers.refit import Candidate, find_better
from consumers.warmup import Sample
from model.cluster_statistics import ClusterStatistics
from model.snapshot import ModelSnapshot
from model.types import Floats

TRAVEL = 0.005
"""A check is due when centroids have moved by so many standard deviations since the last one."""
DUTY = 5.0
"""A check is not repeated before so many times as long as the last one took."""


class Schedule:
    """When a check is due: after each sweep, and as centroids travel while windows fill.

    A sweep first, for it moves the centroids by itself: what it cures takes no new generation. As
    long as most customers are new, the best clusters do not stay so for a tile. Later they do; what
    moves centroids within a tile is then a fault or a drift, to be told before it is learned.
    """

    def __init__(self) -> None:
        self._generation = 0
        self._swept_tile = -1
        self._centroids = np.empty((0, 0))

    def is_due(self, view: ModelSnapshot, statistics: ClusterStatistics, swept_tile: int) -> bool:
        """Return whether to check now; a new generation is left alone at first."""
        if view.generation.number != self._generation:
            self.checked(view, swept_tile)
            return False
        return swept_tile > self._swept_tile or (
            view.generation.provisional and travel(self._centroids, view, statistics) >= TRAVEL
        )

    def checked(self, view: ModelSnapshot, swept_tile: int) -> None:
        """Take note of a check that is made, of a view and after the sweep of a tile."""
        self._generation, self._swept_tile = view.generation.number, swept_tile
        self._centroids = view.centroids


def travel(before: Floats, view: ModelSnapshot, statistics: ClusterStatistics) -> float:
    """Return how far the customers' centroids have moved, in standard deviations of a feature.

    The root mean square over all known values of all customers; what it adds to the inertia goes
    with its square.
    """
    known = statistics.known * (view.weights > 0)
    squares = known * view.weights * (view.centroids - before) ** 2
    return float(np.sqrt(squares.sum() / max(known.sum(), 1)))


def _check(draw: Callable[[], Sample], view: ModelSnapshot, seed: int) -> Candidate:
    return find_better(draw(), view, seed)


class Checks:
    """Runs checks, one at a time, in a thread beside the rounds."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="fit")
        self._running: Future[Candidate] | None = None
        self._started = self._not_before = 0.0
        self._schedule = Schedule()
        self._made = 0

    def is_due(self, view: ModelSnapshot, statistics: ClusterStatistics, swept_tile: int) -> bool:
        """Return whether to start a check now."""
        due = self._schedule.is_due(view, statistics, swept_tile)
        return due and self._running is None and time.monotonic() >= self._not_before

    def start(self, draw: Callable[[], Sample], view: ModelSnapshot, swept_tile: int) -> None:
        """Begin a check in the thread, with the drawing of its sample."""
        self._schedule.checked(view, swept_tile)
        self._made += 1
        self._started = time.monotonic()
        self._running = self._thread.submit(_check, draw, view, self._made)

    def forget(self) -> None:
        """Leave the check that is under way to end for nobody."""
        self._running = None

    def finished(self) -> Candidate | None:
        """Return the outcome of a check that has just ended, if it found a fit at all."""
        if self._running is None or not self._running.done():
            return None
        ended, self._running = self._running, None
        now = time.monotonic()
        self._not_before = now + DUTY * (now - self._started)
        if isinstance(ended.exception(), ValueError):
            return None
        return replace(ended.result(), seconds=now - self._started)
