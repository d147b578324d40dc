"""Prometheus histogram that observes a whole batch at once."""

import threading
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import ArrayLike
from prometheus_client.core import HistogramMetricFamily
from prometheus_client.registry import Collector


class BatchHistogram(Collector):
    """A Prometheus histogram without labels whose `observe` takes an array.

    `prometheus_client.Histogram` accepts one number per call. Calling it for every event of a
    batch takes a tenth of the processing time of an event.

    Parameters
    ----------
    name, help
        Exposed name and help text.
    buckets
        Increasing, inclusive upper bounds; +Inf is added.
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
