"""Prometheus metrics of a worker, built from the table in `metric_specs`."""

import platform
import threading
from collections.abc import Iterator, Sequence
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
from livesegments.monitoring.metric_specs import SERIES, TABLE
from livesegments.monitoring.series import Series


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
        self._metrics: dict[str, Any] = {}
        self._values: dict[str, list[tuple[str, ...] | None]] = {}
        """Name -> values of each label; None for the partition."""
        self._children: dict[str, dict[tuple[str | int | None, ...], Any]] = {}
        """Name -> labels -> metric, of every combination of the labels' values."""
        for series in TABLE:
            name, text = series.full_name, series.help
            if series.type == "info":
                info = Info(name.removesuffix("_info"), text, registry=registry)
                info.info({"version": version, "python": platform.python_version()})
                continue
            if series.type == "histogram" and not series.labels:
                self._metrics[series.name] = BatchHistogram(name, text, series.buckets)
                registry.register(self._metrics[series.name])
            else:
                self._metrics[series.name] = series.metric(registry)
            self._values[series.name] = [
                series.values_of(label, segmentation.segment_ids, segmentation.feature_names)
                for label in series.labels
            ]
            self._children[series.name] = {}
            if "partition" not in series.labels:
                self._add(series)

    def _add(self, series: Series, partition: int | None = None) -> None:
        metric, children = self._metrics[series.name], self._children[series.name]
        for labels in product(*(each or (partition,) for each in self._values[series.name])):
            children[labels] = metric.labels(*labels) if labels else metric
            if series.type == "gauge":
                children[labels].set(series.initial)

    def take_partition(self, partition: int) -> None:
        """Add the series of a newly assigned partition."""
        for series in TABLE:
            if "partition" in series.labels:
                self._add(series, partition)

    def give_up_partition(self, partition: int) -> None:
        """Remove the series of a revoked partition."""
        for series in TABLE:
            if "partition" in series.labels:
                children = self._children[series.name]
                for labels in [each for each in children if each[-1] == partition]:
                    self._metrics[series.name].remove(*labels)
                    del children[labels]

    def count(self, name: str, *labels: str, n: float = 1) -> None:
        """Add to a counter."""
        self._find(name, labels).inc(n)

    def set(self, name: str, value: float, *labels: str | int) -> None:
        """Set a gauge; the partition, if any, is the last label."""
        gauge = self._find(name, labels)
        if gauge is not None:
            gauge.set(value)

    def set_all(self, name: str, values: ArrayLike) -> None:
        """Set a gauge for all values of its labels.

        ``values`` has one axis per label: segments and features in the order of the segmentation.
        """
        shape = tuple(len(each or ()) for each in self._values[name])
        array: NDArray[np.float64] = np.asarray(values, dtype=np.float64)
        if array.shape != shape:
            raise ValueError(f"{name} takes an array of shape {shape}, not {array.shape}")
        for child, value in zip(self._children[name].values(), array.ravel().tolist(), strict=True):
            child.set(value)

    def observe(self, name: str, values: ArrayLike) -> None:
        """Add observations to a histogram without labels: one number or an array."""
        self._metrics[name].observe(values)

    def time(self, name: str, *labels: str) -> AbstractContextManager[object]:
        """Return a context manager that observes its duration."""
        timer: AbstractContextManager[object] = self._find(name, labels).time()
        return timer

    def track(self, name: str) -> AbstractContextManager[object]:
        """Return a context manager that is counted by a gauge while open."""
        tracker: AbstractContextManager[object] = self._metrics[name].track_inprogress()
        return tracker

    def _find(self, name: str, labels: tuple[str | int, ...]) -> Any:
        """Return the metric for some labels, None for a partition that the worker does not own."""
        if name not in self._children:
            raise ValueError(f"{name!r} is not in the table of series")
        if (found := self._children[name].get(labels)) is not None:
            return found
        for label, value, allowed in zip(
            SERIES[name].labels, labels, self._values[name], strict=True
        ):
            if allowed is not None and value not in allowed:
                raise ValueError(f"{name}: {label} is one of {', '.join(allowed)}, not {value!r}")
        return None
