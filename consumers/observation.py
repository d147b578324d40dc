"""What a worker tells Prometheus of its rounds, its partitions and the model."""

import time
from collections import Counter
from collections.abc import Mapping
from contextlib import AbstractContextManager

import numpy as np
from kafka import KafkaConsumer, TopicPartition
from kafka.errors import KafkaError, ProducerFencedError
from redis.exceptions import RedisError

from consumers.batch import Batch
from consumers.global_model import GlobalModel
from consumers.owned import Owned, counted_in
from consumers.reconcile import TakeoverRefusedError
from consumers.rules import Tally
from contracts.topics import INPUTS, PURCHASES
from model import drift
from model.statistics import Statistics
from model.view import ModelView
from monitoring.drift_report import ClusterSnapshot, DriftMetrics
from monitoring.metrics import Metrics

OBSERVE_SECONDS = 2.0


class Observation:
    """Reports one worker's rounds, and every few seconds where its partitions and model stand."""

    def __init__(self, metrics: Metrics, warmup_customers: int) -> None:
        self._metrics = metrics
        self._drift = DriftMetrics(metrics)
        self._warmup_customers = warmup_customers
        self._arrived_us: list[np.ndarray[tuple[int], np.dtype[np.int64]]] = []
        self._observed_at = 0.0
        self._folded_ms: dict[int, int] = {}

    def stage(self, stage: str) -> AbstractContextManager[object]:
        """Return what times a stage of a round."""
        return self._metrics.stage(stage)

    def took(self, partition: int) -> None:
        """Note a partition taken over."""
        self._metrics.take_partition(partition)

    def gave_up(self, partition: int) -> None:
        """Note a partition given up."""
        self._metrics.give_up_partition(partition)

    def rebalanced(self) -> None:
        """Note that the group rebalanced."""
        self._metrics.rebalance()

    def failed(self, error: Exception) -> None:
        """Note an outage, by what failed."""
        cause = error.__cause__ or error
        if isinstance(cause, RedisError):
            self._metrics.dependency_up("redis", False)
        elif isinstance(cause, KafkaError):
            self._metrics.dependency_up("kafka", False)
            self._metrics.transaction("failed")
        if isinstance(cause, ProducerFencedError):
            self._metrics.fenced("kafka")
        elif isinstance(error, TakeoverRefusedError):
            self._metrics.fenced("redis")

    def decided(self, batch: Batch, tally: Tally) -> None:
        """Report a round whose commits were accepted."""
        metrics = self._metrics
        accepted = (len(batch.purchases.row), len(batch.profiles.row), len(batch.erasures.row))
        for topic, n in zip(INPUTS, accepted, strict=True):
            if batch.consumed[topic]:
                metrics.consumed(topic, batch.consumed[topic])
                metrics.processed(topic, n)
        for reason, n in (
            ("older_than_window", tally.older_than_window),
            ("erased", tally.erased),
            ("stale_profile", tally.stale_profiles),
            ("duplicate", batch.duplicates),
        ):
            if n:
                metrics.skipped(reason, n)
        for reason, n in (("margin", tally.held_by_margin), ("dwell", tally.held_by_dwell)):
            if n:
                metrics.changes_suppressed(reason, n)
        for reason, n in Counter(tally.dead_letters).items():
            metrics.dead_letters(reason, n)
        for (before, after, origin), n in Counter(tally.changes).items():
            metrics.changes(_or_none(before), _or_none(after), origin, n)
        self._note_folded(batch)
        if tally.arrived_ms:
            self._arrived_us.append(np.array(tally.arrived_ms, np.int64) * 1_000)

    def _note_folded(self, batch: Batch) -> None:
        for part in batch.slices:
            if part.purchases.stop > part.purchases.start:
                last = batch.record(PURCHASES, part.purchases.stop - 1)
                self._folded_ms[part.partition] = last.timestamp

    def published(self, now_us: int) -> None:
        """Report a transaction that Kafka has confirmed."""
        self._metrics.transaction("committed")
        self._metrics.dependency_up("kafka", True)
        self._metrics.dependency_up("redis", True)
        if self._arrived_us:
            self._metrics.latency((now_us - np.concatenate(self._arrived_us)) / 1e6)
            self._arrived_us = []

    def observe(
        self,
        consumer: KafkaConsumer,
        owned: Mapping[int, Owned],
        model: GlobalModel,
        waiting: int,
    ) -> None:
        """Report where partitions and model stand, every few seconds."""
        now = time.monotonic()
        if now - self._observed_at < OBSERVE_SECONDS:
            return
        self._observed_at = now
        for partition, each in owned.items():
            self._observe_partition(consumer, partition, each, model)
        self._metrics.warmup(waiting, self._warmup_customers)
        statistics = model.statistics(owned)
        if model.generation is None or statistics is None or not statistics.members.any():
            return
        generation = model.generation
        view = ModelView.of(generation, statistics)
        self._drift.update(
            ClusterSnapshot(
                generation=generation.number,
                updated_at=time.time(),
                segments=generation.segments,
                centroids=view.centroids,
                baseline=ModelView.of(generation, None).centroids,
                stddevs=np.sqrt(generation.variance),
                sizes=statistics.members,
                mean=view.mean,
                variance=view.std**2,
                persona_distances=drift.persona_distance(
                    view.zscores(view.centroids), generation.segments
                ),
                mean_squared_distances=drift.mean_squared_distance(statistics, view.weights),
                explained_variance_ratio=drift.explained_variance_ratio(statistics, view.weights),
            )
        )
        expected = np.array(generation.sizes, np.float64)
        actual = statistics.members.astype(np.float64)
        self._metrics.segment_share_psi(
            drift.psi(expected, actual),
            drift.psi_critical_value(len(expected), int(expected.sum()), int(actual.sum())),
        )

    def _observe_partition(
        self, consumer: KafkaConsumer, partition: int, owned: Owned, model: GlobalModel
    ) -> None:
        behind = 0
        for topic, offset in zip(INPUTS, owned.progress.offsets, strict=True):
            tp = TopicPartition(topic, partition)
            highwater = consumer.highwater(tp)
            if highwater is not None:
                # The consumer passes the markers of a transaction, which are never folded.
                records = max(0, highwater - max(offset, consumer.position(tp)))
                self._metrics.lag(topic, partition, records)
                behind += records
        if partition in self._folded_ms:
            age = time.time() - self._folded_ms[partition] / 1_000
            self._metrics.lag_seconds(partition, max(0.0, age) if behind else 0.0)
        if model.generation is not None:
            counted: Statistics = counted_in(owned.statistics, model.generation.number)
            self._metrics.segment_customers(
                partition,
                dict(zip(model.generation.segments, counted.members.tolist(), strict=True)),
            )


def _or_none(segment: str) -> str | None:
    return None if segment == "none" else segment
