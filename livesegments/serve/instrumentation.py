"""Prometheus metrics of the pages and the API."""

import re
from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from starlette.types import Scope

from livesegments.monitoring.metric_specs import LABEL_VALUES, SERVE_SERIES

_ROUTES = (
    (re.compile(r"/api/v1/customers/"), "customer"),
    (re.compile(r"/api/v1/customers:batch"), "batch"),
    (re.compile(r"/api/v1/segments/"), "segment_customers"),
    (re.compile(r"/api/v1/segments"), "segments"),
    (re.compile(r"/api/v1/changes"), "changes"),
)


class ServeMetrics:
    """Time series of a server (`metric_specs.SERVE_TABLE`); all exist from the start.

    Parameters
    ----------
    registry
        Registry of the series; at most one `ServeMetrics` in each.
    streams, lag, size
        Return the open streams, the records that the history lacks, and the bytes of its file.
    """

    def __init__(
        self,
        registry: CollectorRegistry,
        *,
        streams: Callable[[], float],
        lag: Callable[[], float],
        size: Callable[[], float],
    ) -> None:
        requests, duration = (
            SERVE_SERIES["serve_requests_total"],
            SERVE_SERIES["serve_request_duration_seconds"],
        )
        self._requests = Counter(
            requests.full_name, requests.help, requests.labels, registry=registry
        )
        self._duration = Histogram(
            duration.full_name,
            duration.help,
            duration.labels,
            buckets=duration.buckets,
            registry=registry,
        )
        for route in LABEL_VALUES["route"]:
            self._duration.labels(route)
            for status in LABEL_VALUES["status"]:
                self._requests.labels(route, status)
        gauges = {
            "serve_streams": streams,
            "serve_history_lag_records": lag,
            "serve_history_bytes": size,
        }
        for name, read in gauges.items():
            series = SERVE_SERIES[name]
            Gauge(series.full_name, series.help, registry=registry).set_function(read)

    def answered(self, scope: Scope, status: int, seconds: float) -> None:
        """Count an answer and its duration."""
        path = scope["path"]
        route = next((name for begins, name in _ROUTES if begins.match(path)), "page")
        self._requests.labels(route, f"{status // 100}xx").inc()
        self._duration.labels(route).observe(seconds)
