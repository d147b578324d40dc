"""The model checks itself: a fresh fit of a sample, taken when it is better by enough.

Exact means do not leave a local optimum by themselves, and the first customers are not the later
ones. So once a tile, and when the customers have doubled since the last fit, partition 0's owner
fits a sample anew, from today's centroids and from k-means++ starts, in a thread beside the rounds.
"""

import json
import time
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np

from consumers.owned import CLUSTERS, DIMENSIONS
from consumers.warmup import Sample
from model import lloyd
from model.generation import Generation
from model.personas import Persona, match_successors
from model.statistics import Statistics
from model.view import ModelView

STARTS = 8
GROWTH = 2.0
"""A check is due when the customers have grown by this factor since the last one."""
DUTY = 20.0
"""A check is not repeated before so many times as long as the last one took."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A fit of a sample, and the share of today's inertia that it saves."""

    fit: lloyd.Fit
    gain: float
    sample: Sample
    seconds: float = 0.0
    """How long the check took."""

    def replaces(self, generation: Generation, least_gain: float) -> bool:
        """Return whether it is to be the next generation.

        It is when it is better by enough, or when windows are full now and were not at the fit of
        today's, which is then no baseline to measure drift from.
        """
        return self.gain > least_gain or (generation.provisional and self.sample.full)


def find_better(sample: Sample, view: ModelView, seed: int) -> Candidate:
    """Fit a sample anew, and compare with today's centroids over the same rows.

    Raises
    ------
    ValueError
        If the sample has fewer distinct vectors than there are clusters.
    """
    fit = lloyd.fit(
        sample.vectors,
        len(view.centroids),
        seed=seed,
        starts=STARTS,
        initial=view.centroids,
    )
    today = lloyd.inertia(sample.vectors, view.centroids, fit.weights)
    return Candidate(fit, 1.0 - fit.inertia / today if today > 0 else 0.0, sample)


def next_generation(
    candidate: Candidate, view: ModelView, number: int, personas: Sequence[Persona]
) -> Generation:
    """Return the generation that a candidate makes; names stay with what they are nearest to."""
    fit = candidate.fit
    scale = np.where(fit.weights > 0, np.sqrt(fit.weights), np.nan)
    segments = match_successors(
        (fit.centroids - fit.mean) * scale,
        (view.centroids - fit.mean) * scale,
        view.generation.segments,
        personas,
    )
    return Generation(
        number=number,
        centroids=fit.centroids,
        mean=fit.mean,
        variance=fit.variance,
        sizes=fit.sizes,
        segments=segments,
        histograms=candidate.sample.histograms(),
        provisional=not candidate.sample.full,
    )


@dataclass(frozen=True, slots=True)
class Request:
    """A fit that a person wants taken, in place of the generation it was compared with.

    Once that generation is no longer the newest the request is void: it has been taken, or another
    came first.
    """

    replaces: int
    fit: Generation

    def numbered(self, number: int) -> Generation:
        """Return the generation that the request makes."""
        return replace(self.fit, number=number)

    def is_for(self, generation: Generation) -> bool:
        """Return whether a generation is what became of the request."""
        return self.numbered(generation.number) == generation

    def to_bytes(self) -> bytes:
        """Return it as it waits in the store."""
        return json.dumps({"replaces": self.replaces, "fit": self.fit.to_dict()}).encode()

    @classmethod
    def from_bytes(cls, data: bytes, segments: Sequence[str]) -> Self:
        """Return the request that waits in the store.

        Raises
        ------
        ValueError
            If it is none, or its clusters are not those of the segments.
        """
        try:
            fields: Any = json.loads(data)
            replaces, fit = int(fields["replaces"]), Generation.from_dict(fields["fit"])
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"not a request to refit: {error!r}") from error
        if fit.centroids.shape != (CLUSTERS, DIMENSIONS) or set(fit.segments) != set(segments):
            raise ValueError("a fit of other clusters")
        return cls(replaces, fit)


class Schedule:
    """When a check is due: once a tile, and when the customers have grown by enough."""

    def __init__(self) -> None:
        self._generation = 0
        self._tile = -1
        self._customers = 0

    def is_due(self, generation: int, tile: int, customers: int) -> bool:
        """Return whether to check now; a new generation is left alone at first."""
        if generation != self._generation:
            self._generation = generation
            self.checked(tile, customers)
            return False
        return tile > self._tile or customers >= GROWTH * self._customers

    def checked(self, tile: int, customers: int) -> None:
        """Take note of a check that is made at a tile, of so many customers."""
        self._tile, self._customers = tile, customers


class Checks:
    """Keeps the check that is under way."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="fit")
        self._running: Future[Candidate] | None = None
        self._started = self._not_before = 0.0
        self._schedule = Schedule()

    def is_due(self, generation: int, tile: int, statistics: Statistics) -> bool:
        """Return whether to start a check now."""
        due = self._schedule.is_due(generation, tile, int(statistics.members.sum()))
        return due and self._running is None and time.monotonic() >= self._not_before

    def start(self, sample: Sample, view: ModelView, tile: int) -> None:
        """Begin a check in the thread."""
        self._schedule.checked(tile, round(sample.customers))
        self._started = time.monotonic()
        self._running = self._thread.submit(find_better, sample, view, tile)

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
