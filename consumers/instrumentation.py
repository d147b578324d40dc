"""Prometheus metrics of a worker: micro-batches, partitions and the model."""

import time
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext

import numpy as np
from kafka import KafkaConsumer, TopicPartition
from kafka.errors import CommitFailedError, KafkaError, ProducerFencedError
from redis.exceptions import RedisError

from livesegments.consumers.clocks import Clocks
from livesegments.consumers.decoding import MicroBatch
from livesegments.consumers.drift_monitor import DriftMonitor
from livesegments.consumers.modelling.global_model import GlobalModel
from livesegments.consumers.modelling.initial_fit import Sample
from livesegments.consumers.partition_state import PartitionState
from livesegments.consumers.recovery.ownership import Verdict
from livesegments.consumers.recovery.reconciliation import TakeoverRefusedError
from livesegments.consumers.recovery.replay import RecoveryInterruptedError
from livesegments.contracts.timestamps import record_times_us
from livesegments.contracts.topics import INPUTS, PURCHASES
from livesegments.domain import BatchStats, Model
from livesegments.features.segmentation import Segmentation
from livesegments.monitoring.metrics import Metrics
from livesegments.producers.publisher import PublishError

FENCES = (ProducerFencedError, CommitFailedError)
"""Errors with which Kafka rejects the commit of a former owner."""


class Instrumentation:
    """Reporter of one worker's micro-batches and, every few seconds, of partitions and model."""

    def __init__(
        self,
        metrics: Metrics,
        warmup_customers: int,
        segmentation: Segmentation,
        draw: Callable[[], Sample],
    ) -> None:
        self._metrics = metrics
        self._model = DriftMonitor(metrics, segmentation, draw)
        metrics.set("warmup_customers_required", warmup_customers)
        self._arrived_us: list[np.ndarray[tuple[int], np.dtype[np.int64]]] = []
        self._aggregated_ms: dict[int, int] = {}
        self._counted_at: dict[int, float] = {}

    def stage(self, stage: str) -> AbstractContextManager[object]:
        """Return a timer for a stage of a micro-batch."""
        return self._metrics.time("batch_duration_seconds", stage)

    def ready(self, ready: bool) -> None:
        """Record whether the worker owns its partitions and processes them."""
        self._metrics.set("worker_ready", ready)
        if ready:  # the takeover used both
            self._metrics.set("dependency_up", True, "kafka")
            self._metrics.set("dependency_up", True, "redis")

    def clocks(self, clocks: Clocks, states: Mapping[int, PartitionState]) -> None:
        """Report clock errors: against each server, and of partition clocks against Redis."""
        newest_us = max((each.checkpoint.clock_us for each in states.values()), default=0)
        errors_us = clocks.errors_us | {"partition": max(newest_us - clocks.shown_us, 0)}
        for clock, error_us in errors_us.items():
            self._metrics.set("clock_error_seconds", error_us / 1e6, clock)

    def taking_over(self, verdict: Verdict) -> AbstractContextManager[object]:
        """Count a takeover; return a context manager to run it in."""
        self._metrics.count("takeovers_total", verdict.value)
        if verdict is not Verdict.RECOVER:
            return nullcontext()
        self._metrics.set("dependency_up", True, "redis")  # it answers; a recovery may take long
        return self._metrics.track("recoveries_running")

    def took(self, partition: int) -> None:
        """Record the takeover of a partition."""
        self._metrics.take_partition(partition)
        self._counted_at[partition] = time.monotonic()

    def gave_up(self, partition: int) -> None:
        """Record the loss of a partition."""
        self._metrics.give_up_partition(partition)
        self._aggregated_ms.pop(partition, None)

    def rebalanced(self) -> None:
        """Count a rebalance of the group."""
        self._metrics.count("rebalances_total")
        self._metrics.set("dependency_up", True, "kafka")  # the group's coordinator answers

    def failed(self, error: Exception) -> None:
        """Record an outage by the component that failed."""
        cause = error.__cause__ or error
        if isinstance(error, PublishError):
            self._metrics.count("transactions_total", "failed")
            # The error comes from another process, as text.
            if any(fence.__name__ in str(error) for fence in FENCES):
                self._metrics.count("fences_total", "kafka")
            else:
                self._metrics.set("dependency_up", False, "kafka")
        elif isinstance(error, TakeoverRefusedError | RecoveryInterruptedError):
            self._metrics.count("fences_total", "redis")
        elif isinstance(cause, RedisError):
            self._metrics.set("dependency_up", False, "redis")
        elif isinstance(cause, KafkaError):
            self._metrics.set("dependency_up", False, "kafka")

    def decided(self, batch: MicroBatch, tally: BatchStats, model: Model | None) -> None:
        """Report a micro-batch whose commits were accepted."""
        metrics = self._metrics
        accepted = (len(batch.purchases.row), len(batch.profiles.row), len(batch.erasures.row))
        for topic, n in zip(INPUTS, accepted, strict=True):
            if consumed := len(batch.records[topic]):
                metrics.count("events_consumed_total", topic, n=consumed)
                metrics.count("events_processed_total", topic, n=n)
        for series, n in (
            (("events_skipped_total", "older_than_window"), tally.older_than_window),
            (("events_skipped_total", "erased"), tally.erased),
            (("events_skipped_total", "duplicate"), batch.duplicates),
            (("event_id_conflicts_total",), batch.conflicts),
            (("changes_suppressed_total", "margin"), tally.held_by_margin),
            (("changes_suppressed_total", "dwell"), tally.held_by_dwell),
        ):
            if n:
                metrics.count(*series, n=n)
        for reason, n in Counter(tally.dead_letters).items():
            metrics.count("dead_letters_total", reason, n=n)
        for (before, after, origin), n in Counter(tally.changes).items():
            metrics.count("changes_total", before, after, origin, n=n)
        self._model.look(tally.watched, model)
        for part in batch.slices:
            if part.purchases.stop > part.purchases.start:
                last = batch.records[PURCHASES][batch.purchases.row[part.purchases.stop - 1]]
                self._aggregated_ms[part.partition] = int(record_times_us(last.timestamp)) // 1_000
        if tally.arrived_ms:
            arrived_us = record_times_us(tally.arrived_ms)
            self._arrived_us.append(arrived_us[arrived_us > 0])

    def published(self, now_us: int) -> None:
        """Report a transaction confirmed by Kafka."""
        self._metrics.count("transactions_total", "committed")
        self._metrics.set("dependency_up", True, "kafka")
        self._metrics.set("dependency_up", True, "redis")
        if self._arrived_us:
            self._metrics.observe(
                "end_to_end_latency_seconds", (now_us - np.concatenate(self._arrived_us)) / 1e6
            )
            self._arrived_us = []

    def observe(
        self,
        consumer: KafkaConsumer,
        states: Mapping[int, PartitionState],
        model: GlobalModel,
        waiting: int,
    ) -> None:
        """Report the state of partitions and model."""
        for partition, each in states.items():
            self._observe_partition(consumer, partition, each, model)
        self._metrics.set("warmup_customers", waiting)
        self._model.observe(model.complete(states), 0 in states, time.time())

    def _observe_partition(
        self, consumer: KafkaConsumer, partition: int, state: PartitionState, model: GlobalModel
    ) -> None:
        purchases_behind = 0
        for topic, offset in zip(INPUTS, state.checkpoint.offsets, strict=True):
            tp = TopicPartition(topic, partition)
            highwater = consumer.highwater(tp)
            if highwater is not None:
                # The position also passes transaction markers, which are never processed.
                records = max(0, highwater - max(offset, consumer.position(tp)))
                self._metrics.set("consumer_lag_records", records, topic, partition)
                if topic == PURCHASES:
                    purchases_behind = records
        if partition in self._aggregated_ms:
            age = time.time() - self._aggregated_ms[partition] / 1_000
            self._metrics.set(
                "consumer_lag_seconds", max(0.0, age) if purchases_behind else 0.0, partition
            )
        now = time.monotonic()
        if state.checkpoint.swept_generation >= model.number:
            self._counted_at[partition] = now
        self._metrics.set(
            "partition_sync_age_seconds", now - self._counted_at[partition], partition
        )
        if model.generation is not None:
            learned = state.estimators.get(model.generation.number)
            for cluster, segment in enumerate(model.generation.segments):
                members = int(learned.statistics.members[cluster]) if learned else 0
                self._metrics.set("segment_customers", members, segment, partition)
