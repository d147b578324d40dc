"""A worker's decisions over a history, without servers: one partition that keeps its owner.

The code is that of the service: batches, sweeps, the first fit and refits. Only their pace differs:
the clock is that of the events, a sweep runs at once, and a refit waits for its fit.
"""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

import numpy as np
from kafka import TopicPartition
from kafka.consumer.fetcher import ConsumerRecord
from numpy.typing import NDArray

from livesegments.analysis.backtest.in_memory_store import InMemoryPartitions
from livesegments.consumers.aggregation import Work, read_requests
from livesegments.consumers.decoding import MicroBatch, decode_batch
from livesegments.consumers.modelling.global_model import GlobalModel
from livesegments.consumers.modelling.initial_fit import Draws, draw, first_generation
from livesegments.consumers.modelling.refit import PARTS, Schedule, find_better, next_generation
from livesegments.consumers.partition_state import PartitionState, decode_seen, start_sweep
from livesegments.consumers.processor import process
from livesegments.contracts.topics import CHANGES
from livesegments.domain import BatchStats, ProcessingConfig
from livesegments.features.record_codec import Records, decode, may_be_profiled
from livesegments.features.window import window
from livesegments.model.generation import Generation
from livesegments.store.outbox import Output

Event = tuple[str, bytes, bytes | None]
"""Topic, key and value."""

SWEEP_CUSTOMERS = 50_000


@dataclass(frozen=True, slots=True)
class Step:
    """One batch: its counters, the outputs of the changes counted, and the clock after it.

    ``generation`` is the number of the generation that decided, 0 without one.
    """

    clock_us: int
    generation: int
    tally: BatchStats
    changes: list[Output]

    @property
    def changed(self) -> list[str]:
        """The customer of each change."""
        return [(output.key or b"").decode() for output in self.changes]


@dataclass(frozen=True, slots=True)
class Fitted:
    """A generation, its clock and customers, and the share of inertia saved (the first: None)."""

    generation: Generation
    clock_us: int
    customers: int
    gain: float | None


@dataclass(frozen=True, slots=True)
class Population:
    """Customers with a purchase in the window and consent to profiling.

    Attributes
    ----------
    vectors
        (n, d) features, NaN for unknown.
    segment
        (n,) index of the published segment, -1 for none.
    cluster
        (n,) nearest cluster, -1 for none.
    """

    vectors: NDArray[np.float64]
    segment: NDArray[np.int8]
    cluster: NDArray[np.int8]


class EventDecoder:
    """Decodes events into batches, as after a poll.

    They arrive ``now_ms`` after the epoch; with 0 none is future-dated.
    """

    def __init__(self, now_ms: int = 0) -> None:
        self._now_ms = now_ms
        self._offsets: dict[str, int] = {}

    def batch(self, events: Sequence[Event], history: "Simulator") -> MicroBatch:
        """Decode events for a simulator, or for several with the same events so far."""
        polled: dict[TopicPartition, list[ConsumerRecord]] = {}
        for topic, key, value in events:
            offset = self._offsets[topic] = self._offsets.get(topic, -1) + 1
            record = ConsumerRecord(
                topic, 0, 0, offset, self._now_ms, 0, key, value, [], None, 0, 0, 0
            )
            polled.setdefault(TopicPartition(topic, 0), []).append(record)
        return decode_batch(polled, history.config, {0: history.state.seen})


class Simulator:
    """A worker's decisions under some settings; without a ``refit_gain`` it never refits."""

    def __init__(
        self, config: ProcessingConfig, warmup_customers: int, refit_gain: float | None
    ) -> None:
        self.config = replace(config, event_clock=True, sweep_chunk=SWEEP_CUSTOMERS)
        self.warmup_customers, self.refit_gain = warmup_customers, refit_gain
        self._draws = Draws(warmup_customers)
        self.store = InMemoryPartitions()
        self.model = GlobalModel(self.store, 1, config.segmentation)
        checkpoint = self.store.checkpoint
        self.state = PartitionState(
            0, checkpoint, seen=decode_seen(b"", checkpoint, config.dedup_events)
        )
        self.generations: list[Fitted] = []
        self._schedule = Schedule()
        self._checks = 0

    @property
    def clock_us(self) -> int:
        """Time of the latest purchase."""
        return self.state.checkpoint.clock_us

    def feed(self, batch: MicroBatch) -> list[Step]:
        """Process a batch, then the sweeps and fits that become due."""
        steps = [self._process_batch(batch)]
        nothing = decode_batch({}, self.config, {0: None})
        while True:
            if self.model.generation is not None:
                self.state = start_sweep(self.state, self.model.number, self.config, 0)
            if self.state.sweep:
                steps.append(self._process_batch(nothing))
            elif not (self._fit_first() or self._reconsider()):
                return steps

    def _process_batch(self, batch: MicroBatch) -> Step:
        readings = self.store.read(read_requests([self.state], batch, self.config))
        model, number = self.model.model({0: self.state}), self.model.number
        batch_result = process(Work(self.config, model, batch, [self.state], readings, 0))
        changes: list[Output] = []
        for result in batch_result.partitions:
            self.state = result.state.confirmed(result.state.checkpoint.version)
            if result.commit is not None:
                self.store.commit([result.commit])
                entry = result.commit.entry
                outputs = entry.outputs if entry else ()
                changes += [each for each in outputs if each.topic == CHANGES]
        return Step(self.clock_us, number, batch_result.stats, changes)

    def _fit_first(self) -> bool:
        """Fit the first generation, once there are enough customers."""
        if self.model.generation or sum(self.store.sizes([0])) < self.warmup_customers:
            return False
        sample = self._draws.draw(self.store, 1, self.config)
        if not self._draws.are_enough(sample):
            return False
        with suppress(ValueError):  # all customers are the same so far
            number = self.state.checkpoint.version + 1
            first = first_generation(sample, number, self.config.segmentation)
            self._adopt(first, sample.customers, None)
        return self.model.generation is not None

    def _reconsider(self) -> bool:
        """Start the next generation when a check is due and finds a better fit."""
        model, tile = self.model.complete({0: self.state}), self.state.checkpoint.swept_tile
        if self.refit_gain is None or model is None or not self._schedule.is_due(model, tile):
            return False
        self._schedule.checked(model, tile)
        self._checks += 1
        buyers = int(model.statistics.members.sum())
        sample = draw(self.store, 1, self.config, buyers, PARTS)
        try:
            candidate = find_better(sample, model, seed=self._checks)
        except ValueError:  # all customers are the same, lately
            return False
        if not candidate.replaces(model.generation, self.refit_gain):
            return False
        number = self.state.checkpoint.version + 1
        segments = self.config.segmentation.segments
        better = next_generation(candidate, model, number, segments)
        self._adopt(better, sample.customers, candidate.gain)
        return True

    def _adopt(self, generation: Generation, customers: float, gain: float | None) -> None:
        self.model.adopt(generation)
        checkpoint = replace(self.state.checkpoint, version=generation.number)
        self.state = self.state.committed(checkpoint, None).confirmed(checkpoint.version)
        self.store.checkpoint = checkpoint
        self.generations.append(Fitted(generation, self.clock_us, round(customers), gain))

    @property
    def records(self) -> dict[str, bytes]:
        """Customer id -> stored record."""
        return self.store.records

    def all(self) -> Records:
        """Return all records."""
        return decode(list(self.records.values()), self.config.record_shape)

    def population(self) -> Population:
        """Return the current customers."""
        records = self.all()
        layout = self.config.layout
        at = window(records, layout.tile(self.clock_us), layout)
        counted = (at.purchases > 0) & may_be_profiled(records)
        vectors = self.config.segmentation.vectors(records, at)
        return Population(
            vectors[counted], records["segment"][counted], records["cluster"][counted]
        )
