"""A time series: its meaning, its labels and their values.

A customer is never a label: the values of each label are in `LABEL_VALUES`, or are the segments and
features of the deployment or partitions that the worker owns.
"""

import math
from dataclasses import dataclass
from typing import Any, Literal, get_args

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from livesegments.contracts.dead_letters import Reason
from livesegments.contracts.segments import Origin
from livesegments.contracts.topics import INPUTS

PREFIX = "livesegments_"

NO_SEGMENT = "none"

LABEL_VALUES: dict[str, tuple[str, ...]] = {
    "topic": INPUTS,
    "origin": get_args(Origin),
    "stage": ("poll", "decode", "read", "assign", "commit", "publish"),
    "outcome": ("committed", "failed"),
    "verdict": ("fresh", "current", "recover"),
    "by": ("redis", "kafka"),
    "signal": ("distance", "reassigned", "inertia"),
    "detector": ("adwin", "page_hinkley"),
    "result": ("kept", "proposed", "taken"),
    "trigger": ("warmup", "check", "request"),
    "dependency": ("redis", "kafka"),
    "clock": ("redis", "kafka", "partition"),
    "route": ("customer", "batch", "segments", "segment_customers", "changes", "page"),
    "status": ("2xx", "3xx", "4xx", "5xx"),
}

REASONS: dict[str, tuple[str, ...]] = {
    "events_skipped_total": (
        "older_than_window",
        "erased",
        "duplicate",
    ),
    "dead_letters_total": tuple(reason.value for reason in Reason),
    "changes_suppressed_total": ("margin", "dwell"),
    "ingest_dead_letters_total": tuple(reason.value for reason in Reason),
}
INGEST_STAGES = ("poll", "transform", "publish")

LATENCY_BUCKETS = (
    *(0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5, 0.75),
    *(1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 3600.0),
)
DURATION_BUCKETS = (
    *(0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5),
    *(1.0, 2.5, 5.0, 10.0, 30.0, 60.0),
)

UNKNOWN = math.nan


@dataclass(frozen=True, slots=True)
class Series:
    """One metric: its meaning, and how the values of several workers are aggregated.

    Parameters
    ----------
    name
        Exposed name without `PREFIX`.
    type
        Prometheus type. ``info`` is a gauge of 1 whose labels carry the facts.
    labels
        Label names, in the order of the values passed to `livesegments.monitoring.metrics`.
    unit
        Unit of a sample; for a histogram, of an observation.
    meaning
        One or two sentences.
    over_workers
        The correct PromQL aggregation across workers.
    initial
        Value of a gauge before it is first set. NaN means "not known yet": ``max`` ignores it and
        it makes no alert expression true. Gauges that are summed start at 0, since NaN would make
        the sum NaN.
    buckets
        Upper bounds of a histogram's buckets.
    """

    name: str
    type: Literal["counter", "gauge", "histogram", "info"]
    labels: tuple[str, ...]
    unit: str
    meaning: str
    over_workers: Literal["sum", "max", "min", "none"] = "sum"
    initial: float = 0.0
    buckets: tuple[float, ...] = ()

    @property
    def full_name(self) -> str:
        """The exposed name."""
        return PREFIX + self.name

    @property
    def help(self) -> str:
        """The help text: meaning, unit, aggregation."""
        return f"{self.meaning} Unit: {self.unit}. Over workers: {self.over_workers}."

    def metric(self, registry: CollectorRegistry) -> Any:
        """Return a new Counter, Gauge or Histogram of prometheus_client; not for an ``info``."""
        kind = {"counter": Counter, "gauge": Gauge, "histogram": Histogram}[self.type]
        options = {"buckets": self.buckets} if self.buckets else {}
        return kind(self.full_name, self.help, self.labels, registry=registry, **options)

    def values_of(
        self, label: str, segments: tuple[str, ...] = (), features: tuple[str, ...] = ()
    ) -> tuple[str, ...] | None:
        """Return the possible values of a label; None for a partition or source, which vary.

        Segments and features are those of the deployment.
        """
        if label == "reason":
            return REASONS[self.name]
        if label == "segment":
            return segments
        if label == "feature":
            return features
        if label in ("from", "to"):
            return (*segments, NO_SEGMENT)
        if label == "stage" and self.name.startswith("ingest_"):
            return INGEST_STAGES
        return None if label in ("partition", "source") else LABEL_VALUES[label]
