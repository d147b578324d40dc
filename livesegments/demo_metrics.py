"""The worker's own figures, read from its ``/metrics`` as Prometheus would."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPException

from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from contracts.topics import PROFILES, PURCHASES

_PREFIX = "livesegments_"


@dataclass(frozen=True, slots=True)
class WorkerMetrics:
    """One scrape of a worker; None is not known yet.

    Parameters
    ----------
    purchases, profiles
        Records folded and committed.
    changes
        Changes decided.
    held_back
        Switches that were not made, since the other centroid was not nearer by the margin.
    lag
        Records in the input topics that are not committed.
    warmup, warmup_required
        Customers with a purchase, and how many of them the first fit waits for.
    clusters
        By segment: customers in its statistical cluster.
    shifts
        By segment: how far its centroid moved since its generation, standard deviations.
    psi, psi_critical
        How far the shares of the segments are from the generation's, and what is noise.
    explained_variance
        Share of the variance between the clusters, 0..1.
    latency
        From an event's arrival to the published change, seconds: median and 99th percentile.
    """

    purchases: int = 0
    profiles: int = 0
    changes: int = 0
    held_back: int = 0
    lag: int = 0
    warmup: int = 0
    warmup_required: int = 0
    clusters: dict[str, int] = field(default_factory=dict)
    shifts: dict[str, float] = field(default_factory=dict)
    psi: float | None = None
    psi_critical: float | None = None
    explained_variance: float | None = None
    latency: tuple[float, float] | None = None

    @classmethod
    def parse(cls, text: str) -> WorkerMetrics:
        """Read the text of ``/metrics``."""
        samples: dict[str, list[Sample]] = {}
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                samples.setdefault(sample.name.removeprefix(_PREFIX), []).append(sample)

        def total(name: str, **labels: str) -> int:
            return round(
                sum(s.value for s in samples.get(name, ()) if labels.items() <= s.labels.items())
            )

        def gauge(name: str) -> float | None:
            return next((s.value for s in samples.get(name, ()) if not math.isnan(s.value)), None)

        def by_segment(name: str) -> dict[str, float]:
            found = samples.get(name, ())
            return {s.labels["segment"]: s.value for s in found if not math.isnan(s.value)}

        buckets = samples.get("end_to_end_latency_seconds_bucket", [])
        median, tail = quantile(buckets, 0.5), quantile(buckets, 0.99)
        return cls(
            purchases=total("events_consumed_total", topic=PURCHASES),
            profiles=total("events_consumed_total", topic=PROFILES),
            changes=total("changes_total"),
            held_back=total("changes_suppressed_total", reason="margin"),
            lag=total("consumer_lag_records"),
            warmup=total("warmup_customers"),
            warmup_required=total("warmup_customers_required"),
            clusters={k: round(v) for k, v in by_segment("cluster_customers").items()},
            shifts=by_segment("centroid_shift_stddevs"),
            psi=gauge("segment_share_psi"),
            psi_critical=gauge("segment_share_psi_critical"),
            explained_variance=gauge("explained_variance_ratio"),
            latency=(median, tail) if median is not None and tail is not None else None,
        )


def quantile(buckets: Iterable[Sample], q: float) -> float | None:
    """Return a quantile of a histogram, linear within its bucket as PromQL's histogram_quantile."""
    below, count_below = 0.0, 0.0
    ordered = sorted((float(s.labels["le"]), s.value) for s in buckets)
    wanted = q * ordered[-1][1] if ordered else 0.0
    if not wanted:
        return None
    for bound, count in ordered:
        if count >= wanted:
            if math.isinf(bound):
                return below
            return below + (bound - below) * (wanted - count_below) / (count - count_below)
        below, count_below = bound, count
    return below


def scrape(port: int, timeout: float = 1.0) -> WorkerMetrics | None:
    """Ask the worker on a loopback port; None when it does not answer, or has no partitions yet."""
    connection = HTTPConnection("127.0.0.1", port, timeout=timeout)
    try:
        connection.request("GET", "/readyz")
        # Not ready as a whole until the model is known, which takes the events still to come.
        checks = json.loads(connection.getresponse().read()).get("checks", {})
        if not checks.get("joined"):
            return None
        connection.request("GET", "/metrics")
        page = connection.getresponse()
        return WorkerMetrics.parse(page.read().decode()) if page.status == 200 else None
    except (OSError, HTTPException, ValueError):
        return None
    finally:
        connection.close()
