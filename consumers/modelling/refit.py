"""Refit: a new fit of a sample that replaces the generation if it is sufficiently better.

Exact means do not leave a local optimum by themselves, and the first customers do not represent
later ones. So the owner of partition 0 fits a sample again, from the current centroids and from
k-means++ starts: after each sweep, and as centroids travel while windows fill.
"""

import json
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np

from livesegments.consumers.modelling.initial_fit import Sample
from livesegments.domain import Model
from livesegments.features.segmentation import Segmentation
from livesegments.model.batch_kmeans import Fit, inertia
from livesegments.model.cluster_statistics import ClusterStatistics
from livesegments.model.generation import Generation
from livesegments.model.naming import Segment, match_successors
from livesegments.model.snapshot import ModelSnapshot
from livesegments.model.vectors import Floats

PARTS = 3
"""Size of a check's sample in samples of a first fit; one of them is held out."""
NOTHING = 1e-6
"""Squared standard deviations per value below which a fit counts as perfect."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """Fit of a sample, and the fraction of the current inertia that it saves."""

    fit: Fit
    gain: float
    sample: Sample
    seconds: float = 0.0
    """Duration of the check."""
    swept_tile: int = 0
    """Latest swept tile when the check began."""

    def replaces(self, generation: Generation, least_gain: float) -> bool:
        """Return whether the candidate becomes the next generation.

        It does if it is sufficiently better, or if windows are full now and were not at the current
        generation's fit, which then is no baseline for measuring drift.
        """
        return self.gain > least_gain or (generation.provisional and self.sample.full)


def find_better(sample: Sample, model: Model, seed: int) -> Candidate:
    """Fit a sample and compare the fit with the current centroids, over all customers.

    If the sample leaves out customers, a part of it is held out of the fit, and its mean inertia
    stands for theirs. On the rows that it was fitted to, the best of several nearly equal fits is
    better by chance, and customers would move to and fro.

    Raises
    ------
    ValueError
        If all customers of the sample are the same.
    """
    rows = sample.vectors
    unseen = max(0.0, sample.customers - len(rows))
    held_out = (np.arange(len(rows)) % PARTS == 0) & (unseen > 0)  # of every partition
    fit = model.kmeans.fit_arrays(rows[~held_out], seed=seed)

    def of_all(centroids: Floats) -> float:
        total = inertia(rows, centroids, fit.weights)
        if unseen:
            others = inertia(rows[held_out], centroids, fit.weights)
            total += unseen * others / np.count_nonzero(held_out)
        return total + NOTHING * (len(rows) + unseen) * rows.shape[1]

    gain = 1.0 - of_all(fit.completed) / of_all(model.snapshot.centroids)
    return Candidate(fit, gain, sample)


def next_generation(
    candidate: Candidate, model: Model, number: int, segments: Sequence[Segment]
) -> Generation:
    """Return the generation of a candidate; clusters keep the nearest current names."""
    fit = candidate.fit
    names = match_successors(
        fit.zscores(fit.centroids),
        fit.zscores(model.snapshot.centroids),
        model.generation.segments,
        segments,
    )
    return Generation.of(
        fit,
        number=number,
        segments=names,
        histograms=candidate.sample.histograms(),
        provisional=not candidate.sample.full,
    )


@dataclass(frozen=True, slots=True)
class Request:
    """Requested fit that replaces the generation it was compared with.

    Once that generation is no longer the newest, the request is void: it has been applied, or
    another generation came first.
    """

    replaces: int
    fit: Generation

    def numbered(self, number: int) -> Generation:
        """Return the request's generation with a number."""
        return replace(self.fit, number=number)

    def is_for(self, generation: Generation) -> bool:
        """Return whether a generation results from this request."""
        return self.numbered(generation.number) == generation

    def to_bytes(self) -> bytes:
        """Serialize the request for the store."""
        return json.dumps({"replaces": self.replaces, "fit": self.fit.to_dict()}).encode()

    @classmethod
    def from_bytes(cls, data: bytes, segmentation: Segmentation) -> Self:
        """Parse a stored request.

        Raises
        ------
        ValueError
            If it is not a request, or its clusters do not match the segmentation.
        """
        try:
            fields: Any = json.loads(data)
            replaces, fit = int(fields["replaces"]), Generation.from_dict(fields["fit"])
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"not a request to refit: {error!r}") from error
        ids = segmentation.segment_ids
        shape = len(ids), len(segmentation.features)
        if fit.centroids.shape != shape or set(fit.segments) != set(ids):
            raise ValueError("a fit of other clusters")
        return cls(replaces, fit)


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
        self._generation, self._fitted = 0, (0, 0)
        self.swept_tile = -1
        """Latest swept tile at the latest check."""
        self._centroids = np.empty((0, 0))

    def is_due(self, model: Model, swept_tile: int) -> bool:
        """Return whether a check is due; a new generation is not checked at first.

        It is once a tile is swept that its fit did not know, as in a fast replay.
        """
        number = model.generation.number
        if number != self._generation:
            fitted, tile = self._fitted
            self.checked(model, tile if number == fitted else swept_tile)
            return False
        if swept_tile > self.swept_tile:
            return True
        is_moving = model.generation.provisional
        return is_moving and travel(self._centroids, model.snapshot, model.statistics) >= TRAVEL

    def fitted(self, number: int, tile: int) -> None:
        """Record the last tile that the fit of a new generation knew."""
        self._fitted = number, tile

    def checked(self, model: Model, swept_tile: int) -> None:
        """Record a check of the model after the sweep of a tile."""
        self._generation, self.swept_tile = model.generation.number, swept_tile
        self._centroids = model.snapshot.centroids


def travel(before: Floats, now: ModelSnapshot, statistics: ClusterStatistics) -> float:
    """Return the distance that centroids have moved, in standard deviations of a feature.

    It is the root mean square over all known values of all customers; its contribution to the
    inertia grows with its square.
    """
    known = statistics.known * (now.weights > 0)
    squares = known * now.weights * (now.centroids - before) ** 2
    return float(np.sqrt(squares.sum() / max(known.sum(), 1)))


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
        self._made = seed = self._made + 1
        self._started = time.monotonic()
        self._running = self._thread.submit(lambda: find_better(draw(), model, seed))

    def forget(self) -> None:
        """Ignore the result of the running check."""
        self._running = None

    def fitted(self, number: int, tile: int) -> None:
        """Ignore the running check; record the last tile that the fit of a new generation knew."""
        self._running = None
        self._schedule.fitted(number, tile)

    def finished(self) -> Candidate | None:
        """Return the result of a check that has just ended, if it found a fit."""
        if self._running is None or not self._running.done():
            return None
        ended, self._running = self._running, None
        now = time.monotonic()
        self._not_before = now + DUTY * (now - self._started)
        if isinstance(ended.exception(), ValueError):
            return None
        swept_tile = self._schedule.swept_tile
        return replace(ended.result(), seconds=now - self._started, swept_tile=swept_tile)
