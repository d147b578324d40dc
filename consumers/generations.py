"""What partition 0's owner publishes of the model: the first generation, then how it stands."""

import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from consumers.definitions import to_definitions
from consumers.global_model import GlobalModel
from consumers.owned import Owned
from consumers.rules import Decision, Rules
from consumers.warmup import draw, first_generation
from model.generation import Generation
from model.personas import Persona
from model.statistics import Statistics
from model.view import ModelView
from producers.messages import Messages
from store.partitions import Commit, Partitions

WARMUP_SECONDS = 0.5


class Generations:
    """Proposes the first generation, and keeps the published definitions current."""

    def __init__(
        self,
        store: Partitions,
        partitions: int,
        rules: Rules,
        personas: tuple[Persona, ...],
        warmup_customers: int,
        definitions_seconds: float = 10.0,
    ) -> None:
        self._store, self._partitions, self._rules = store, partitions, rules
        self._personas, self._warmup_customers = personas, warmup_customers
        self._definitions_seconds = definitions_seconds
        self._next_look = 0.0
        self._described: list[dict[str, Any]] = []
        self.waiting = 0
        """Customers counted at the last look of the warm-up."""

    def propose(self, first: Owned, now_us: int) -> Decision | None:
        """Return the commit of the first generation, once there are enough customers for it."""
        if first.progress.proposed_generation or time.monotonic() < self._next_look:
            return None
        self._next_look = time.monotonic() + WARMUP_SECONDS
        if sum(self._store.sizes(range(self._partitions))) < self._warmup_customers:
            return None
        sample = draw(self._store, self._partitions, self._rules.layout)
        self.waiting = round(sample.customers)
        if sample.customers < self._warmup_customers:
            return None
        # The number is the version of the commit that makes it: one is never given twice.
        number = first.progress.version + 1
        try:
            generation = first_generation(sample, number)
        except ValueError:
            return None  # fewer distinct customers than clusters, as yet
        return self._decision(first, generation, None, now_us, proposed=number)

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
        described = to_definitions(generation, view, statistics, self._personas)
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
