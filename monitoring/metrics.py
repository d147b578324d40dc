"""What a worker tells Prometheus: one method for each thing that can happen or be measured."""

import platform
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from itertools import product

import numpy as np
import prometheus_client
from numpy.typing import ArrayLike, NDArray
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info
from prometheus_client.context_managers import Timer

from monitoring.batch_histogram import BatchHistogram
from monitoring.series import NO_SEGMENT, SEGMENTS, SERIES, TABLE, UNKNOWN, Series

# A creation time beside each counter and histogram would double what is scraped.
prometheus_client.disable_created_metrics()  # type: ignore[no-untyped-call]


class Metrics:
    """The time series of one worker (`monitoring.series.TABLE`), in a registry of its own.

    All series exist from the start, for every value of every label, so that a rate or an alert
    never waits for the first event. Only series of a partition come and go with the partition.

    Parameters
    ----------
    registry
        Where the series are registered; at most one `Metrics` in each.
    version
        Version of the software, for ``build_info``.
    segments
        (k,) ids of the deployment's segments.

    Raises
    ------
    ValueError
        By every method, for a label value outside the table, a negative increment, or an array
        of the wrong length.

    Notes
    -----
    Arrays over segments are in the order of ``segments``, arrays over features in the order
    of `features.vector.FEATURES`. Values of a partition that is not held are dropped: they
    are the new owner's to report.

    Examples
    --------
    >>> metrics = Metrics(CollectorRegistry(), version="1.0")
    >>> metrics.changes(None, "families", "live")
    >>> with metrics.stage("decode"):
    ...     pass
    """

    def __init__(
        self,
        registry: CollectorRegistry,
        *,
        version: str = "unknown",
        segments: tuple[str, ...] = SEGMENTS,
    ) -> None:
        self.registry = registry
        self.segments = segments
        self._counters: dict[str, Counter] = {}
        self._gauges: dict[str, Gauge] = {}
        self._histograms: dict[str, Histogram] = {}
        self._batch_histograms: dict[str, BatchHistogram] = {}
        self._partitions: set[int] = set()
        for series in TABLE:
            self._register(series, version)

    def _register(self, series: Series, version: str) -> None:
        name, text, labels = series.full_name, series.help, series.labels
        if series.type == "info":
            info = Info(name.removesuffix("_info"), text, registry=self.registry)
            info.info({"version": version, "python": platform.python_version()})
            return
        if series.type == "counter":
            self._counters[series.name] = Counter(name, text, labels, registry=self.registry)
        elif series.type == "gauge":
            self._gauges[series.name] = Gauge(name, text, labels, registry=self.registry)
        elif labels:
            self._histograms[series.name] = Histogram(
                name, text, labels, buckets=series.buckets, registry=self.registry
            )
        else:
            self._batch_histograms[series.name] = BatchHistogram(name, text, series.buckets)
            self.registry.register(self._batch_histograms[series.name])
        if "partition" not in labels:
            self._initialise(series, self._combinations(series))

    def _initialise(self, series: Series, combinations: Iterable[tuple[str, ...]]) -> None:
        for values in combinations:
            if series.type == "gauge":
                self._gauge(series.name, *values).set(series.initial)
            elif series.type == "counter":
                self._counter(series.name, *values)
            elif values:
                self._histogram(series.name, *values)

    # Partitions

    def take_partition(self, partition: int) -> None:
        """Add the series of a partition that this worker owns from now on."""
        self._partitions.add(partition)
        for series in TABLE:
            if "partition" in series.labels:
                self._initialise(series, self._combinations(series, partition))

    def give_up_partition(self, partition: int) -> None:
        """Remove the series of a partition that this worker owns no longer."""
        self._partitions.discard(partition)
        for series in TABLE:
            if "partition" in series.labels:
                for values in self._combinations(series, partition):
                    self._gauges[series.name].remove(*values)

    # Events

    def consumed(self, topic: str, n: int = 1) -> None:
        """Count records polled."""
        self._counter("events_consumed_total", topic).inc(n)

    def processed(self, topic: str, n: int = 1) -> None:
        """Count events folded and committed."""
        self._counter("events_processed_total", topic).inc(n)

    def skipped(self, reason: str, n: int = 1) -> None:
        """Count valid events that changed nothing."""
        self._counter("events_skipped_total", reason).inc(n)

    def dead_letters(self, reason: str, n: int = 1) -> None:
        """Count records sent to the dead-letter topic."""
        self._counter("dead_letters_total", reason).inc(n)

    def changes(self, from_: str | None, to: str | None, origin: str, n: int = 1) -> None:
        """Count changes of published segment; None is no segment."""
        self._counter("changes_total", from_ or NO_SEGMENT, to or NO_SEGMENT, origin).inc(n)

    def changes_suppressed(self, reason: str, n: int = 1) -> None:
        """Count changes that the margin or the dwell held back."""
        self._counter("changes_suppressed_total", reason).inc(n)

    # Time spent

    def latency(self, seconds: ArrayLike) -> None:
        """Observe end-to-end latencies: one number or an array of any shape."""
        self._batch_histograms["end_to_end_latency_seconds"].observe(seconds)

    def stage(self, stage: str) -> Timer:
        """Return a context manager that observes how long a stage of a round takes."""
        return self._histogram("batch_duration_seconds", stage).time()

    # Kafka and Redis

    def lag(self, topic: str, partition: int, records: int) -> None:
        """Set the records of an input partition that are not yet committed."""
        self._set_of_partition("consumer_lag_records", partition, records, topic)

    def lag_seconds(self, partition: int, seconds: float) -> None:
        """Set the age of a partition's oldest record that is not yet committed."""
        self._set_of_partition("consumer_lag_seconds", partition, seconds)

    def sync_age(self, partition: int, seconds: float) -> None:
        """Set the time since a partition was last part of the global model."""
        self._set_of_partition("partition_sync_age_seconds", partition, seconds)

    def rebalance(self) -> None:
        """Count a rebalance."""
        self._counter("rebalances_total").inc()

    def transaction(self, outcome: str) -> None:
        """Count a transaction that was committed or that failed."""
        self._counter("transactions_total", outcome).inc()

    def fenced(self, by: str) -> None:
        """Count a commit that Redis or Kafka refused to a former owner."""
        self._counter("fences_total", by).inc()

    def ready(self, ready: bool) -> None:
        """Set whether the worker works."""
        self._gauge("worker_ready").set(ready)

    def took_over(self, verdict: str) -> None:
        """Count a partition taken over."""
        self._counter("takeovers_total", verdict).inc()

    def recovering(self) -> AbstractContextManager[object]:
        """Return a context manager during which a partition counts as being rebuilt."""
        return self._gauge("recoveries_running").track_inprogress()

    def dependency_up(self, dependency: str, up: bool) -> None:
        """Set whether the last call to a dependency succeeded."""
        self._gauge("dependency_up", dependency).set(up)

    # Segments and clusters

    def segment_customers(self, partition: int, customers: Mapping[str, int]) -> None:
        """Set a partition's customers by published segment; a segment left out has none."""
        for segment in customers:
            self._check(SERIES["segment_customers"], "segment", segment)
        for segment in self.segments:
            n = customers.get(segment, 0)
            self._set_of_partition("segment_customers", partition, n, segment)

    def cluster_customers(self, customers: ArrayLike) -> None:
        """Set the customers (k,) of each statistical cluster."""
        self._set_all("cluster_customers", customers)

    def warmup(self, customers: int, required: int) -> None:
        """Set how many customers the warm-up has seen and how many it needs."""
        self._gauge("warmup_customers").set(customers)
        self._gauge("warmup_customers_required").set(required)

    # Model and drift

    def model(self, generation: int, updated_at: float) -> None:
        """Set the generation in use and when the model last changed, in epoch seconds."""
        self._gauge("model_generation").set(generation)
        self._gauge("model_last_update_timestamp_seconds").set(updated_at)

    def provisional(self, provisional: bool) -> None:
        """Set whether the generation was fitted while windows were filling."""
        self._gauge("model_provisional").set(provisional)

    def centroids(self, natural: ArrayLike) -> None:
        """Set the centroids (k, d) in natural units."""
        self._set_all("centroid_natural_units", natural)

    def centroid_positions(self, stddevs: ArrayLike) -> None:
        """Set the centroids' positions (k, d)."""
        self._set_all("centroid_position_stddevs", stddevs)

    def centroid_shifts(self, stddevs: ArrayLike) -> None:
        """Set the centroids' distances (k,) from their baseline."""
        self._set_all("centroid_shift_stddevs", stddevs)

    def centroid_travel(self, stddevs: ArrayLike) -> None:
        """Add the ways (k,) that the centroids went."""
        ways = _flat(stddevs, (len(self.segments),))
        for segment, way in zip(self.segments, ways, strict=True):
            self._counter("centroid_travel_stddevs_total", segment).inc(way)

    def persona_distances(self, stddevs: ArrayLike) -> None:
        """Set the centroids' distances (k,) from their personas."""
        self._set_all("persona_distance_stddevs", stddevs)

    def cluster_mean_squared_distances(self, squared_stddevs: ArrayLike) -> None:
        """Set the clusters' mean squared distances (k,)."""
        self._set_all("cluster_mean_squared_distance", squared_stddevs)

    def explained_variance(self, ratio: float) -> None:
        """Set the share of the variance that lies between the clusters."""
        self._gauge("explained_variance_ratio").set(ratio)

    def silhouette(self, score: float) -> None:
        """Set the simplified silhouette."""
        self._gauge("silhouette_score").set(score)

    def segment_share_psi(self, psi: float, critical: float) -> None:
        """Set the stability index of the segments' shares and what it must exceed to matter."""
        self._gauge("segment_share_psi").set(psi)
        self._gauge("segment_share_psi_critical").set(critical)

    def feature_psi(self, psi: ArrayLike, critical: ArrayLike) -> None:
        """Set the stability indices (d,) of the features and what they must exceed to matter."""
        self._set_all("feature_psi", psi)
        self._set_all("feature_psi_critical", critical)

    def scaler(self, mean: ArrayLike, stddev: ArrayLike) -> None:
        """Set the mean (d,) and the standard deviation (d,) of the features."""
        self._set_all("scaler_mean", mean)
        self._set_all("scaler_stddev", stddev)

    def generation(self, trigger: str) -> None:
        """Count a generation that this worker made."""
        self._counter("generations_total", trigger).inc()

    def refit_checked(self, result: str, gain: float, seconds: float) -> None:
        """Report a check: what became of it, what it would save, how long it took."""
        self._counter("refit_checks_total", result).inc()
        self._gauge("refit_gain_ratio").set(gain)
        self._gauge("refit_duration_seconds").set(seconds)

    def refit_unknown(self) -> None:
        """Forget what the last check found: it was of another generation, or another's to tell."""
        self._gauge("refit_gain_ratio").set(UNKNOWN)

    def drift_detected(self, signal: str, detector: str) -> None:
        """Count a detection of a drift detector."""
        self._counter("drift_detections_total", signal, detector).inc()

    # Access by name

    def _counter(self, name: str, *values: str) -> Counter:
        metric = self._counters[name]
        return metric.labels(*self._checked(name, values)) if values else metric

    def _gauge(self, name: str, *values: str) -> Gauge:
        metric = self._gauges[name]
        return metric.labels(*self._checked(name, values)) if values else metric

    def _histogram(self, name: str, *values: str) -> Histogram:
        return self._histograms[name].labels(*self._checked(name, values))

    def _set_of_partition(self, name: str, partition: int, value: float, *labels: str) -> None:
        values = self._checked(name, (*labels, str(partition)))
        if partition in self._partitions:
            self._gauges[name].labels(*values).set(value)

    def _set_all(self, name: str, array: ArrayLike) -> None:
        series = SERIES[name]
        shape = tuple(len(self._values_of(series, label) or ()) for label in series.labels)
        for values, value in zip(self._combinations(series), _flat(array, shape), strict=True):
            self._gauges[name].labels(*values).set(value)

    def _values_of(self, series: Series, label: str) -> tuple[str, ...] | None:
        return series.values_of(label, self.segments)

    def _combinations(
        self, series: Series, partition: int | None = None
    ) -> Iterable[tuple[str, ...]]:
        values = (self._values_of(series, label) or (str(partition),) for label in series.labels)
        return product(*values)

    def _checked(self, name: str, values: Sequence[str]) -> Sequence[str]:
        series = SERIES[name]
        for label, value in zip(series.labels, values, strict=True):
            self._check(series, label, value)
        return values

    def _check(self, series: Series, label: str, value: str) -> None:
        allowed = self._values_of(series, label)
        if allowed is not None and value not in allowed:
            raise ValueError(
                f"{series.name}: {label} is one of {', '.join(allowed)}, not {value!r}"
            )


def _flat(array: ArrayLike, shape: tuple[int, ...]) -> list[float]:
    values: NDArray[np.float64] = np.asarray(array, dtype=np.float64)
    if values.shape != shape:
        raise ValueError(f"expected an array of shape {shape}, not {values.shape}")
    flat: list[float] = values.ravel().tolist()
    return flat
