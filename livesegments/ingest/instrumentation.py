"""Prometheus metrics of the sources of a process."""

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from kafka.consumer.fetcher import ConsumerRecord
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from livesegments.contracts.dead_letters import Reason
from livesegments.ingest.transform import Transformed
from livesegments.monitoring.metric_specs import INGEST_SERIES, INGEST_STAGES

_OUTCOMES = ("committed", "failed")


class IngestMetrics:
    """Time series of all sources of a process (`metric_specs.INGEST_TABLE`).

    Parameters
    ----------
    registry
        Registry of the series; at most one `IngestMetrics` in each.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        made = {name: series.metric(registry) for name, series in INGEST_SERIES.items()}
        self.records: Counter = made["ingest_records_total"]
        self.events: Counter = made["ingest_events_total"]
        self.filtered: Counter = made["ingest_filtered_records_total"]
        self.dead_letters: Counter = made["ingest_dead_letters_total"]
        self.transactions: Counter = made["ingest_transactions_total"]
        self.duration: Histogram = made["ingest_batch_duration_seconds"]
        self.latency: Histogram = made["ingest_latency_seconds"]
        self.lag: Gauge = made["ingest_lag_records"]
        self.ready: Gauge = made["ingest_ready"]


class Instrumentation:
    """Reporter of one source; all of its series exist from the start."""

    def __init__(self, metrics: IngestMetrics, source: str) -> None:
        self._metrics, self._source = metrics, source
        self._partitions: set[int] = set()
        for counter in (metrics.records, metrics.events, metrics.filtered, metrics.latency):
            counter.labels(source)
        for reason in Reason:
            metrics.dead_letters.labels(source, reason.value)
        for outcome in _OUTCOMES:
            metrics.transactions.labels(source, outcome)
        for stage in INGEST_STAGES:
            metrics.duration.labels(source, stage)
        metrics.ready.labels(source).set(0)

    @contextmanager
    def stage(self, stage: str) -> Iterator[None]:
        """Time a stage of a micro-batch."""
        began = time.perf_counter()
        try:
            yield
        finally:
            self._metrics.duration.labels(self._source, stage).observe(time.perf_counter() - began)

    def ready(self, ready: bool) -> None:
        """Record whether the source is read."""
        self._metrics.ready.labels(self._source).set(ready)

    def failed(self, _error: Exception) -> None:
        """Count a micro-batch that was given up."""
        self._metrics.transactions.labels(self._source, "failed").inc()

    def committed(
        self, done: Transformed, records: Sequence[ConsumerRecord], ended_us: int
    ) -> None:
        """Report a micro-batch whose transaction is committed."""
        metrics, source = self._metrics, self._source
        metrics.transactions.labels(source, "committed").inc()
        metrics.records.labels(source).inc(len(records))
        metrics.events.labels(source).inc(len(done.events))
        metrics.filtered.labels(source).inc(done.filtered)
        for reason, count in done.reasons.items():
            metrics.dead_letters.labels(source, reason).inc(count)
        oldest_ms = min((each.timestamp for each in records if each.timestamp > 0), default=None)
        if oldest_ms is not None:
            metrics.latency.labels(source).observe(max(0.0, ended_us / 1e6 - oldest_ms / 1e3))

    def lag(self, lags: Mapping[int, int]) -> None:
        """Report the records of each partition that are not read yet."""
        for partition in self._partitions - lags.keys():
            self._metrics.lag.remove(self._source, str(partition))
        for partition, records in lags.items():
            self._metrics.lag.labels(self._source, str(partition)).set(records)
        self._partitions = set(lags)
