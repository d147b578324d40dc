"""Generations and definitions published by the owner of partition 0."""

import math
import time
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Any, Literal

import structlog

from livesegments.consumers.modelling.definitions import to_definitions
from livesegments.consumers.modelling.global_model import GlobalModel
from livesegments.consumers.modelling.initial_fit import Draws, draw, first_generation
from livesegments.consumers.modelling.refit import PARTS, Checks, Request, next_generation
from livesegments.consumers.partition_state import PartitionResult, PartitionState, current_tile
from livesegments.domain import Model, ProcessingConfig
from livesegments.model.generation import Generation
from livesegments.monitoring.metrics import Metrics
from livesegments.producers.serializers import Serializer
from livesegments.store.outbox import Entry
from livesegments.store.partitions import Partitions
from livesegments.store.refit_requests import RefitRequests

log = structlog.get_logger()

WARMUP_SECONDS = 0.5
REQUESTS_SECONDS = 0.5

Refit = Literal["auto", "propose", "off"]
_RESULTS = {"auto": "taken", "propose": "proposed"}


class Generations:
    """Creator of generations that also keeps the published definitions current.

    Parameters
    ----------
    store, partitions, config
        Data to fit, and configuration for describing the model.
    requests
        Pending refits requested by an operator.
    metrics
        Receives checks and generations.
    warmup_customers
        Number of customers required for the first fit.
    definitions_seconds
        Interval between updates of the definitions.
    refit, refit_gain
        Handling of a fit that saves more than this fraction of the inertia: applied (auto), only
        reported (propose), or not searched for (off).
    """

    def __init__(
        self,
        store: Partitions,
        partitions: int,
        config: ProcessingConfig,
        *,
        requests: RefitRequests,
        metrics: Metrics,
        warmup_customers: int,
        definitions_seconds: float = 10.0,
        refit: Refit = "auto",
        refit_gain: float = 0.0125,
    ) -> None:
        self._store, self._partitions, self._config = store, partitions, config
        self._requests, self._metrics = requests, metrics
        self._warmup_customers, self._definitions_seconds = warmup_customers, definitions_seconds
        self._refit, self._refit_gain = refit, refit_gain
        self._checks, self._draws = Checks(), Draws(warmup_customers)
        self._next_look = self._next_request = 0.0
        self._described: list[dict[str, Any]] = []
        self.waiting = 0
        """Number of customers at the last warm-up check."""

    def tend(
        self, states: Mapping[int, PartitionState], model: GlobalModel, now_us: int
    ) -> PartitionResult | None:
        """Return the model commit due for the owner of partition 0, if any."""
        if 0 not in states:
            # Another worker owns partition 0 now: drop pending work.
            self._checks.forget()
            self._metrics.set("refit_gain_ratio", math.nan)
            self.describe_again()
            return None
        first, generation = states[0], model.generation
        if generation is None:
            return self.propose(first, model.floor, now_us)
        if first.checkpoint.proposed_generation > generation.number:
            return None  # in flight, and must not be overwritten
        due, now = self.accept(first, generation, now_us), model.complete(states)
        if due is None and now is not None:
            due = self.reconsider(first, now, now_us)
        return due or self.refresh(first, now, now_us)

    def propose(self, first: PartitionState, floor: int, now_us: int) -> PartitionResult | None:
        """Return the commit of a first generation, once there are enough customers.

        If all generations up to ``floor`` are lost, the next one is a first generation again.
        """
        under_way = first.checkpoint.proposed_generation > floor
        if under_way or time.monotonic() < self._next_look:
            return None
        self._next_look = time.monotonic() + WARMUP_SECONDS
        self.waiting = sum(self._store.sizes(range(self._partitions)))
        if self.waiting < self._warmup_customers:
            return None
        sample = self._draws.draw(self._store, self._partitions, self._config)
        self.waiting = round(sample.customers)
        if not self._draws.are_enough(sample):
            return None
        # The number is the version of the creating commit, so it is never reused.
        number = first.checkpoint.version + 1
        try:
            generation = first_generation(sample, number, self._config.segmentation)
        except ValueError:
            return None  # so far, all customers are the same
        tile = current_tile(first.checkpoint, self._config, now_us)
        return self._next(first, generation, tile, now_us, "warmup")

    def describe_again(self) -> None:
        """Publish definitions at the next refresh even if they are unchanged."""
        self._described = []

    def accept(
        self, first: PartitionState, generation: Generation, now_us: int
    ) -> PartitionResult | None:
        """Return the commit of a generation requested by an operator, if any.

        The request stays until its generation, or another newer one, is published; the owner of the
        partition at that time removes it.
        """
        if time.monotonic() < self._next_request:
            return None
        self._next_request = time.monotonic() + REQUESTS_SECONDS
        data = self._requests.get()
        if data is None:
            return None
        try:
            request = Request.from_bytes(data, self._config.segmentation)
        except ValueError as error:
            log.warning("a request to refit cannot be read", error=str(error))
            self._requests.remove(data)
            return None
        if request.replaces != generation.number:
            taken = request.is_for(generation)
            log.info("a request to refit is over", taken=taken, generation=generation.number)
            self._requests.remove(data)
            return None
        number = first.checkpoint.version + 1
        log.info("next generation, as asked for", number=number)
        tile = current_tile(first.checkpoint, self._config, now_us)
        return self._next(first, request.numbered(number), tile, now_us, "request")

    def reconsider(self, first: PartitionState, now: Model, now_us: int) -> PartitionResult | None:
        """Return the commit of the next generation, if a check has found a better fit."""
        if self._refit == "off":
            return None
        generation, swept_tile = now.generation, first.checkpoint.swept_tile
        candidate = self._checks.finished()
        if candidate is not None:
            gain, better = candidate.gain, candidate.replaces(generation, self._refit_gain)
            result = _RESULTS[self._refit] if better else "kept"
            self._metrics.count("refit_checks_total", result)
            self._metrics.set("refit_gain_ratio", gain)
            self._metrics.set("refit_duration_seconds", candidate.seconds)
            if result == "proposed":
                log.warning(
                    "a better fit was found; `livesegments refit` takes it",
                    inertia_saved=round(gain, 4),
                )
            if result != "taken":
                return None
            number = first.checkpoint.version + 1
            log.info("next generation", number=number, inertia_saved=round(gain, 4))
            segments = self._config.segmentation.segments
            successor = next_generation(candidate, now, number, segments)
            return self._next(first, successor, candidate.swept_tile, now_us, "check")
        if self._checks.is_due(now, swept_tile):
            buyers = int(now.statistics.members.sum())
            sample = partial(draw, self._store, self._partitions, self._config, buyers, PARTS)
            self._checks.start(sample, now, swept_tile)
        return None

    def refresh(
        self, first: PartitionState, now: Model | None, now_us: int
    ) -> PartitionResult | None:
        """Return the commit that updates the definitions, if an update is due and they changed."""
        if time.monotonic() < self._next_look:
            return None
        self._next_look = time.monotonic() + self._definitions_seconds
        return None if now is None else self._decision(first, now, now_us)

    def _next(
        self,
        first: PartitionState,
        generation: Generation,
        fitted_tile: int,
        now_us: int,
        trigger: str,
    ) -> PartitionResult | None:
        self._checks.fitted(generation.number, fitted_tile)
        self._metrics.count("generations_total", trigger)
        self._metrics.set("refit_gain_ratio", math.nan)
        fitted = Model.of(self._config.segmentation.estimator(generation), self._config.segment_ids)
        return self._decision(first, fitted, now_us, proposed=generation.number)

    def _decision(
        self,
        first: PartitionState,
        model: Model,
        now_us: int,
        proposed: int | None = None,
    ) -> PartitionResult | None:
        described = to_definitions(model, self._config.segmentation)
        if described == self._described:
            return None
        self._described = described
        checkpoint = replace(
            first.checkpoint,
            version=first.checkpoint.version + 1,
            proposed_generation=proposed or first.checkpoint.proposed_generation,
        )
        serializer = Serializer(self._config, 0, checkpoint, now_us)
        outputs = serializer.definitions(described)
        entry = Entry.of(checkpoint.version, checkpoint.offsets, outputs)
        return first.commits(checkpoint, entry)
