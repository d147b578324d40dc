"""Schedule of refit checks: after each sweep, and as centroids travel while windows fill."""

import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace

import numpy as np

from livesegments.consumers.modelling.initial_fit import Sample
from livesegments.consumers.modelling.refit import Candidate, find_better
from livesegments.consumers.processing_config import Model
from livesegments.model.cluster_statistics import ClusterStatistics
from livesegments.model.snapshot import ModelSnapshot
from livesegments.model.types import Floats

TRAVEL = 0.005
"""Distance that centroids move, in standard deviations, before a check is due."""
DUTY = 5.0
"""Minimum pause after a check, in multiples of its duration."""


class Schedule:
    """Due times of checks: after each sweep, and as centroids travel while windows fill.

    A check waits for the sweep, which moves the centroids by itself and may make a new generation
    unnecessary. While most customers are new, the best clusters change within a tile. Later they do
    not: centroids that move within a tile are then a fault or a drift, to report before a refit.
    """

    def __init__(self) -> None:
        self._generation = 0
        self._swept_tile = -1
        self._centroids = np.empty((0, 0))

    def is_due(self, model: Model, swept_tile: int) -> bool:
        """Return whether a check is due; a new generation is not checked at first."""
        if model.generation.number != self._generation:
            self.checked(model, swept_tile)
            return False
        moved = travel(self._centroids, model.snapshot, model.statistics)
        return swept_tile > self._swept_tile or (model.generation.provisional and moved >= TRAVEL)

    def checked(self, model: Model, swept_tile: int) -> None:
        """Record a check of the model after the sweep of a tile."""
        self._generation, self._swept_tile = model.generation.number, swept_tile
        self._centroids = model.snapshot.centroids


def travel(before: Floats, now: ModelSnapshot, statistics: ClusterStatistics) -> float:
    """Return the distance that centroids have moved, in standard deviations of a feature.

    It is the root mean square over all known values of all customers; its contribution to the
    inertia grows with its square.
    """
    known = statistics.known * (now.weights > 0)
    squares = known * now.weights * (now.centroids - before) ** 2
    return float(np.sqrt(squares.sum() / max(known.sum(), 1)))


def _check(draw: Callable[[], Sample], model: Model, seed: int) -> Candidate:
    return find_better(draw(), model, seed)


class Checks:
    """Runs checks one at a time in a background thread."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="fit")
        self._running: Future[Candidate] | None = None
        self._started = self._not_before = 0.0
        self._schedule = Schedule()
        self._made = 0

    def is_due(self, model: Model, swept_tile: int) -> bool:
        """Return whether to start a check now."""
        due = self._schedule.is_due(model, swept_tile)
        return due and self._running is None and time.monotonic() >= self._not_before

    def start(self, draw: Callable[[], Sample], model: Model, swept_tile: int) -> None:
        """Start a check in the thread, including the draw of its sample."""
        self._schedule.checked(model, swept_tile)
        self._made += 1
        self._started = time.monotonic()
        self._running = self._thread.submit(_check, draw, model, self._made)

    def forget(self) -> None:
        """Ignore the result of the running check."""
        self._running = None

    def finished(self) -> Candidate | None:
        """Return the result of a check that has just ended, if it found a fit."""
        if self._running is None or not self._running.done():
            return None
        ended, self._running = self._running, None
        now = time.monotonic()
        self._not_before = now + DUTY * (now - self._started)
        if isinstance(ended.exception(), ValueError):
            return None
        return replace(ended.result(), seconds=now - self._started)
