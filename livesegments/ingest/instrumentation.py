"""Prometheus metrics of the sources of a process."""

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from kafka.consumer.fetcher import ConsumerRecord
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from livesegments.contracts.dead_letters import Reason
from livesegments.ingest.transform import Transformed
from livesegments.monitoring.metric_specs import INGEST_SERIES
from livesegments.monitoring.series import INGEST_STAGES

_OUTCOMES = ("committed", "failed")


def ingest_metrics(registry: CollectorRegistry) -> dict[str, Any]:
    """Return the time series of all sources of a process by name (`metric_specs.INGEST_TABLE`)."""
    return {name: series.metric(registry) for name, series in INGEST_SERIES.items()}


class Instrumentation:
    """Reporter of one source; all of its series exist from the start."""

    def __init__(self, metrics: Mapping[str, Any], source: str) -> None:
        self._source = source
        self._partitions: set[int] = set()
        self._dead_letters: Counter = metrics["ingest_dead_letters_total"]
        self._transactions: Counter = metrics["ingest_transactions_total"]
        self._duration: Histogram = metrics["ingest_batch_duration_seconds"]
        self._lag: Gauge = metrics["ingest_lag_records"]
        self._records: Counter = metrics["ingest_records_total"].labels(source)
        self._events: Counter = metrics["ingest_events_total"].labels(source)
        self._filtered: Counter = metrics["ingest_filtered_records_total"].labels(source)
        self._latency: Histogram = metrics["ingest_latency_seconds"].labels(source)
        self._ready: Gauge = metrics["ingest_ready"].labels(source)
        for reason in Reason:
            self._dead_letters.labels(source, reason.value)
        for outcome in _OUTCOMES:
            self._transactions.labels(source, outcome)
        for stage in INGEST_STAGES:
            self._duration.labels(source, stage)

    @contextmanager
    def stage(self, stage: str) -> Iterator[None]:
        """Time a stage of a micro-batch."""
        began = time.perf_counter()
        try:
            yield
        finally:
            self._duration.labels(self._source, stage).observe(time.perf_counter() - began)

    def ready(self, ready: bool) -> None:
        """Record whether the source is read."""
        self._ready.set(ready)

    def failed(self) -> None:
        """Count a micro-batch that was given up."""
        self._transactions.labels(self._source, "failed").inc()

    def committed(
        self, done: Transformed, records: Sequence[ConsumerRecord], ended_us: int
    ) -> None:
        """Report a micro-batch whose transaction is committed."""
        self._transactions.labels(self._source, "committed").inc()
        self._records.inc(len(records))
        self._events.inc(len(done.events))
        self._filtered.inc(done.filtered)
        for rejection in done.rejected.values():
            self._dead_letters.labels(self._source, rejection.reason.value).inc()
        oldest_ms = min((each.timestamp for each in records if each.timestamp > 0), default=None)
        if oldest_ms is not None:
            self._latency.observe(max(0.0, ended_us / 1e6 - oldest_ms / 1e3))

    def lag(self, lags: Mapping[int, int]) -> None:
        """Report the records of each partition that are not read yet."""
        for partition in self._partitions - lags.keys():
            self._lag.remove(self._source, str(partition))
        for partition, records in lags.items():
            self._lag.labels(self._source, str(partition)).set(records)
        self._partitions = set(lags)
