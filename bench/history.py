"""Run the real decisions over a history without servers: Kafka and Redis are a dict."""

from collections.abc import Sequence

import numpy as np
from kafka import TopicPartition
from kafka.consumer.fetcher import ConsumerRecord

from consumers.batch import decode_batch
from consumers.global_model import GlobalModel
from consumers.owned import Owned
from consumers.refit import find_better, next_generation
from consumers.round import Round
from consumers.rules import Rules, Tally, start_sweep, want
from consumers.scoring import Switching
from consumers.warmup import Sample, first_generation
from contracts.topics import PURCHASES
from features.layout import Layout
from features.record import Records, decode
from features.vector import vectors
from features.window import reaches_back, window
from livesegments.datasets import complete_journey
from model.personas import PERSONAS
from model.view import ModelView
from store.partitions import Reading
from store.progress import Progress

Event = tuple[str, bytes, bytes]
"""Topic, key, value."""


def journey() -> list[Event]:
    """Return the year of Complete Journey, profiles first: (topic, key, value)."""
    import tempfile
    from pathlib import Path

    from contracts.topics import PROFILES
    from producers.files import read_profiles, read_purchases

    with tempfile.TemporaryDirectory() as folder:
        purchases, profiles = complete_journey().write(Path(folder))
        events = [(PROFILES, r.key, r.value) for r in read_profiles(profiles)]
        events += [(PURCHASES, r.key, r.value) for r in read_purchases(purchases, currency="USD")]
    return events


class History:
    """One partition, owned for ever, fed in batches."""

    def __init__(
        self,
        warmup: int = 500,
        margin: float = 0.15,
        min_dwell_us: int = 0,
        refit_gain: float | None = 0.02,
        layout: Layout | None = None,
    ) -> None:
        self.refit_gain = refit_gain
        self.generations = 1
        self._checked = (0, 0, 0)
        self.layout = layout or Layout(90, 30)
        self.rules = Rules(
            layout=self.layout,
            switching=Switching(margin, min_dwell_us),
            event_clock=True,
            currency="USD",
            group_id="bench",
            personas=PERSONAS,
            sweep_chunk=1_000_000,
        )
        self.warmup = warmup
        self.records: dict[str, bytes] = {}
        self.model = GlobalModel(None, 1, self.rules.segment_ids)  # type: ignore[arg-type]
        self.owned = Owned(0, Progress(nonce="0" * 16))
        self.offsets: dict[str, int] = {}
        self.tally = Tally()

    def feed(self, events: Sequence[tuple[str, bytes, bytes]]) -> None:
        """Do one round with a batch of events, and a sweep when one is due."""
        polled: dict[TopicPartition, list[ConsumerRecord]] = {}
        for topic, key, value in events:
            offset = self.offsets[topic] = self.offsets.get(topic, -1) + 1
            record = ConsumerRecord(topic, 0, 0, offset, 0, 0, key, value, [], None, 0, 0, 0)
            polled.setdefault(TopicPartition(topic, 0), []).append(record)
        batch = decode_batch(polled, self.rules.currency)
        model = self.model.model({0: self.owned})
        number = model.generation.number if model else 0
        self.owned = start_sweep(self.owned, number, self.rules, 0)
        part = batch.slices[0]
        wanted = want(self.owned, part, self.rules)
        reading = Reading(
            [self.records.get(name) for name in wanted.customers],
            [None] * len(wanted.erasures),
            0 if wanted.scan else None,
            dict(self.records) if wanted.scan else {},
        )
        round_ = Round(self.rules, model, batch, [(self.owned, part, reading)], 0)
        for decision in round_.decide():
            self.owned = decision.owned.confirmed(decision.owned.progress.version)
            if decision.commit is not None:
                self.records.update(decision.commit.records)
                for name in decision.commit.gone:
                    self.records.pop(name, None)
        self.tally.changes += round_.tally.changes
        self.tally.watched = round_.tally.watched
        self.tally.held_by_margin += round_.tally.held_by_margin
        if self.model.generation is None and len(self.records) >= self.warmup:
            sample = self.current()
            if sample.customers >= self.warmup:
                first = first_generation(sample, self.owned.progress.version + 1, PERSONAS)
                self.model.adopt(first)

        self._reconsider()

    def _reconsider(self) -> None:
        generation, statistics = self.model.generation, self.model.statistics({0: self.owned})
        if self.refit_gain is None or generation is None or statistics is None:
            return
        tile = self.layout.tile(self.owned.progress.clock_us)
        customers = int(statistics.members.sum())
        if generation.number != self._checked[0]:
            self._checked = (generation.number, tile, customers)
        elif tile > self._checked[1] or customers >= 2 * self._checked[2]:
            self._checked = (generation.number, tile, customers)
            view = ModelView.of(generation, statistics)
            candidate = find_better(self.current(), view, tile)
            if candidate.replaces(generation, self.refit_gain):
                self.generations += 1
                number = self.owned.progress.version + 1
                self.model.adopt(next_generation(candidate, view, number, PERSONAS))

    def all(self) -> Records:
        """Return all records."""
        return decode(list(self.records.values()), self.layout.tiles)

    def current(self) -> Sample:
        """Return the vectors of customers with a purchase in the window."""
        records = self.all()
        at = window(records, self.layout.tile(self.owned.progress.clock_us))
        counted = at.purchases > 0
        tile = self.layout.tile(self.owned.progress.clock_us)
        customers = float(np.count_nonzero(counted))
        return Sample(vectors(records, at)[counted], customers, reaches_back(records, tile))
