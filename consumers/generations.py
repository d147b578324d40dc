"""What partition 0's owner publishes of the model: the first generation, then how it stands."""

import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import structlog

from consumers.definitions import to_definitions
from consumers.global_model import GlobalModel
from consumers.owned import Owned
from consumers.refit import Checks, next_generation
from consumers.rules import Decision, Rules
from consumers.warmup import draw, first_generation
from model.generation import Generation
from model.statistics import Statistics
from model.view import ModelView
from producers.messages import Messages
from store.partitions import Commit, Partitions

log = structlog.get_logger()

WARMUP_SECONDS = 0.5


class Generations:
    """Proposes the first generation, and keeps the published definitions current."""

    def __init__(
        self,
        store: Partitions,
        partitions: int,
        rules: Rules,
        warmup_customers: int,
        definitions_seconds: float = 10.0,
        refit_gain: float | None = 0.02,
    ) -> None:
        self._store, self._partitions, self._rules = store, partitions, rules
        self._warmup_customers = warmup_customers
        self._definitions_seconds, self._refit_gain = definitions_seconds, refit_gain
        self._checks = Checks()
        self._next_look = 0.0
        self._described: list[dict[str, Any]] = []
        self.waiting = 0
        """Customers counted at the last look of the warm-up."""

    def propose(self, first: Owned, now_us: int) -> Decision | None:
        """Return the commit of the first generation, once there are enough customers for it."""
        if first.progress.proposed_generation or time.monotonic() < self._next_look:
            return None
        self._next_look = time.monotonic() + WARMUP_SECONDS
        self.waiting = sum(self._store.sizes(range(self._partitions)))
        if self.waiting < self._warmup_customers:
            return None
        sample = draw(self._store, self._partitions, self._rules.layout)
        self.waiting = round(sample.customers)
        if sample.customers < self._warmup_customers:
            return None
        # The number is the version of the commit that makes it: one is never given twice.
        number = first.progress.version + 1
        try:
            generation = first_generation(sample, number, self._rules.personas)
        except ValueError:
            return None  # fewer distinct customers than clusters, as yet
        return self._decision(first, generation, None, now_us, proposed=number)

    def stand_down(self) -> None:
        """Drop what was begun: another worker owns partition 0 now."""
        self._checks.forget()
        self._described = []

    def reconsider(
        self, owned: Mapping[int, Owned], model: GlobalModel, now_us: int
    ) -> Decision | None:
        """Return the commit of a next generation, when a check has found one that is better."""
        generation, first = model.generation, owned[0]
        statistics = model.statistics(owned)
        if self._refit_gain is None or generation is None or statistics is None:
            return None
        tile = self._rules.layout.tile(first.progress.clock_us)
        view = ModelView.of(generation, statistics)
        candidate = self._checks.finished()
        if candidate is not None and first.progress.proposed_generation <= generation.number:
            if candidate.gain <= self._refit_gain:
                return None
            number = first.progress.version + 1
            better = next_generation(candidate, view, number, self._rules.personas)
            log.info("next generation", number=number, inertia_saved=round(candidate.gain, 4))
            return self._decision(first, better, None, now_us, proposed=number)
        if self._checks.is_due(generation.number, tile, statistics):
            sample = draw(self._store, self._partitions, self._rules.layout)
            self._checks.start(sample, view, tile)
        return None

    def refresh(
        self, owned: Mapping[int, Owned], model: GlobalModel, now_us: int
    ) -> Decision | None:
        """Return the commit that brings definitions up to date, if it is time and they moved."""
        generation, first = model.generation, owned[0]
        if generation is None or time.monotonic() < self._next_look:
            return None
        self._next_look = time.monotonic() + self._definitions_seconds
        statistics = model.statistics(owned)
        if statistics is None:
            return None
        return self._decision(first, generation, statistics, now_us)

    def _decision(
        self,
        first: Owned,
        generation: Generation,
        statistics: Statistics | None,
        now_us: int,
        proposed: int | None = None,
    ) -> Decision | None:
        view = ModelView.of(generation, statistics)
        described = to_definitions(generation, view, statistics, self._rules.personas)
        if described == self._described:
            return None
        self._described = described
        progress = replace(
            first.progress,
            version=first.progress.version + 1,
            proposed_generation=proposed or first.progress.proposed_generation,
        )
        outputs = Messages(
            group_id=self._rules.group_id,
            partition=0,
            version=progress.version,
            nonce=progress.nonce,
            generation=generation.number,
            decided_at_us=now_us,
            segments=self._rules.segments,
        ).definitions(described)
        commit = Commit(
            partition=0,
            expected=first.progress,
            progress=progress,
            outputs=outputs,
            published=first.trimmable,
        )
        return Decision(commit, first.committed(progress, outputs))
