"""Prometheus metrics of a worker, built from the table in `metric_specs`."""

import platform
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from itertools import product
from typing import Any

import numpy as np
import prometheus_client
from numpy.typing import ArrayLike, NDArray
from prometheus_client import CollectorRegistry, Info
from prometheus_client.core import HistogramMetricFamily
from prometheus_client.registry import Collector

from livesegments.features.segmentation import Segmentation
from livesegments.monitoring.metric_specs import SERIES, TABLE, Series


class BatchHistogram(Collector):
    """A Prometheus histogram without labels whose `observe` takes an array.

    `prometheus_client.Histogram` accepts one number per call. Calling it for every event of a
    batch takes a tenth of the processing time of an event. ``buckets`` are increasing, inclusive
    upper bounds; +Inf is added.
    """

    def __init__(self, name: str, help: str, buckets: Sequence[float]) -> None:
        self._name = name
        self._help = help
        self._bounds = np.array([*buckets, np.inf])
        self._counts = np.zeros(len(self._bounds), dtype=np.int64)
        self._sum = 0.0
        self._lock = threading.Lock()

    def observe(self, values: ArrayLike) -> None:
        """Add observations: one number or an array of any shape; NaN is ignored."""
        flat = np.ravel(np.asarray(values, dtype=np.float64))
        flat = flat[~np.isnan(flat)]
        buckets = np.searchsorted(self._bounds, flat, side="left")
        counts = np.bincount(buckets, minlength=len(self._bounds))
        with self._lock:
            self._counts += counts
            self._sum += float(flat.sum())

    def describe(self) -> Iterator[HistogramMetricFamily]:
        """Return the family without samples, which gives a registry its name."""
        yield HistogramMetricFamily(self._name, self._help)

    def collect(self) -> Iterator[HistogramMetricFamily]:
        """Return the family with cumulative buckets."""
        with self._lock:
            cumulative, total = np.cumsum(self._counts).tolist(), self._sum
        bounds = [*(repr(bound) for bound in self._bounds[:-1].tolist()), "+Inf"]
        buckets = list(zip(bounds, cumulative, strict=True))
        yield HistogramMetricFamily(self._name, self._help, buckets=buckets, sum_value=total)


# A creation timestamp for each counter and histogram would double the size of a scrape.
prometheus_client.disable_created_metrics()  # type: ignore[no-untyped-call]


class Metrics:
    """Time series of one worker (`metric_specs.TABLE`), in a registry of its own.

    Every series exists from the start, for every value of its labels, so that a rate or an alert
    never waits for the first event. Only the series of partitions are added and removed. Values of
    a partition that the worker does not own are dropped, since the new owner reports them.

    Parameters
    ----------
    registry
        Registry of the series; at most one `Metrics` in each.
    segmentation
        The deployment's segments and features.
    version
        Software version, for ``build_info``.

    Raises
    ------
    ValueError
        In every method, for a name or label value outside the table, a negative increment, or an
        array of the wrong shape.

    Examples
    --------
    >>> from livesegments.features.feature_specs import CATALOGUE
    >>> from livesegments.model.naming import Segment

    >>> families = Segment("families", "Families", "", position=(0.5,))
    >>> segmentation = Segmentation(CATALOGUE[:1], (families,))
    >>> metrics = Metrics(CollectorRegistry(), segmentation, version="1.0")
    >>> metrics.count("changes_total", "none", "families", "live")
    >>> with metrics.time("batch_duration_seconds", "decode"):
    ...     pass
    """

    def __init__(
        self,
        registry: CollectorRegistry,
        segmentation: Segmentation,
        *,
        version: str = "unknown",
    ) -> None:
        self.registry = registry
        self._segments = segmentation.segment_ids
        self._features = segmentation.feature_names
        self._metrics: dict[str, Any] = {}
        self._partitions: set[int] = set()
        self._children: dict[tuple[str, tuple[str | int, ...]], Any] = {}
        """Metrics by name and labels, checked once."""
        for series in TABLE:
            self._register(series, version)

    def _register(self, series: Series, version: str) -> None:
        name, text, labels = series.full_name, series.help, series.labels
        if series.type == "info":
            info = Info(name.removesuffix("_info"), text, registry=self.registry)
            info.info({"version": version, "python": platform.python_version()})
        elif series.type == "histogram" and not labels:
            self._metrics[series.name] = BatchHistogram(name, text, series.buckets)
            self.registry.register(self._metrics[series.name])
        else:
            self._metrics[series.name] = series.metric(self.registry)
        if series.type != "info" and "partition" not in labels:
            self._initialise(series, self._combinations(series))

    def _initialise(self, series: Series, combinations: Iterable[tuple[str, ...]]) -> None:
        for labels in combinations:
            metric = self._metrics[series.name]
            child = metric.labels(*labels) if labels else metric
            if series.type == "gauge":
                child.set(series.initial)

    def take_partition(self, partition: int) -> None:
        """Add the series of a newly assigned partition."""
        self._partitions.add(partition)
        for series in TABLE:
            if "partition" in series.labels:
                self._initialise(series, self._combinations(series, partition))

    def give_up_partition(self, partition: int) -> None:
        """Remove the series of a revoked partition."""
        self._partitions.discard(partition)
        for series in TABLE:
            if "partition" in series.labels:
                for labels in self._combinations(series, partition):
                    self._metrics[series.name].remove(*labels)
        self._children = {
            (name, labels): child
            for (name, labels), child in self._children.items()
            if "partition" not in SERIES[name].labels or labels[-1] != partition
        }

    def count(self, name: str, *labels: str, n: float = 1) -> None:
        """Add to a counter."""
        (self._children.get((name, labels)) or self._child(name, labels)).inc(n)

    def set(self, name: str, value: float, *labels: str | int) -> None:
        """Set a gauge; the partition, if any, is the last label."""
        gauge = self._children.get((name, labels)) or self._child(name, labels)
        if gauge is not None:
            gauge.set(value)

    def set_all(self, name: str, values: ArrayLike) -> None:
        """Set a gauge for all values of its labels.

        ``values`` has one axis per label: segments and features in the order of the segmentation.
        """
        series = SERIES[name]
        shape = tuple(len(self._values_of(series, label) or ()) for label in series.labels)
        array: NDArray[np.float64] = np.asarray(values, dtype=np.float64)
        if array.shape != shape:
            raise ValueError(f"{name} takes an array of shape {shape}, not {array.shape}")
        for labels, value in zip(self._combinations(series), array.ravel().tolist(), strict=True):
            self._metrics[name].labels(*labels).set(value)

    def observe(self, name: str, values: ArrayLike) -> None:
        """Add observations to a histogram without labels: one number or an array."""
        self._metrics[name].observe(values)

    def time(self, name: str, *labels: str) -> AbstractContextManager[object]:
        """Return a context manager that observes its duration."""
        histogram = self._children.get((name, labels)) or self._child(name, labels)
        timer: AbstractContextManager[object] = histogram.time()
        return timer

    def track(self, name: str) -> AbstractContextManager[object]:
        """Return a context manager that is counted by a gauge while open."""
        tracker: AbstractContextManager[object] = self._metrics[name].track_inprogress()
        return tracker

    def _child(self, name: str, labels: tuple[str | int, ...]) -> Any:
        """Return the metric for some labels, None for a partition that the worker does not own."""
        series = SERIES.get(name)
        if series is None:
            raise ValueError(f"{name!r} is not in the table of series")
        values = tuple(map(str, labels))
        for label, value in zip(series.labels, values, strict=True):
            allowed = self._values_of(series, label)
            if allowed is not None and value not in allowed:
                raise ValueError(f"{name}: {label} is one of {', '.join(allowed)}, not {value!r}")
        if "partition" in series.labels and labels[-1] not in self._partitions:
            return None
        metric = self._metrics[name]
        child = self._children[name, labels] = metric.labels(*values) if values else metric
        return child

    def _values_of(self, series: Series, label: str) -> tuple[str, ...] | None:
        return series.values_of(label, self._segments, self._features)

    def _combinations(
        self, series: Series, partition: int | None = None
    ) -> Iterable[tuple[str, ...]]:
        values = (self._values_of(series, label) or (str(partition),) for label in series.labels)
        return product(*values)
