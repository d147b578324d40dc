"""Prometheus metrics of the pages and the API."""

import re
from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Histogram
from starlette.types import Scope

from livesegments.monitoring.metric_specs import SERVE_SERIES
from livesegments.monitoring.series import LABEL_VALUES

_ROUTES = (
    (re.compile(r"/api/v1/customers/"), "customer"),
    (re.compile(r"/api/v1/customers:batch"), "batch"),
    (re.compile(r"/api/v1/segments/"), "segment_customers"),
    (re.compile(r"/api/v1/segments"), "segments"),
    (re.compile(r"/api/v1/changes"), "changes"),
)


class ServeMetrics:
    """Time series of a server (`metric_specs.SERVE_TABLE`); all exist from the start.

    ``streams``, ``lag`` and ``size`` return the open streams, the records that the history lacks,
    and the bytes of its file.
    """

    def __init__(
        self,
        registry: CollectorRegistry,
        *,
        streams: Callable[[], float],
        lag: Callable[[], float],
        size: Callable[[], float],
    ) -> None:
        made = {name: series.metric(registry) for name, series in SERVE_SERIES.items()}
        self._requests: Counter = made["serve_requests_total"]
        self._duration: Histogram = made["serve_request_duration_seconds"]
        for route in LABEL_VALUES["route"]:
            self._duration.labels(route)
            for status in LABEL_VALUES["status"]:
                self._requests.labels(route, status)
        made["serve_streams"].set_function(streams)
        made["serve_history_lag_records"].set_function(lag)
        made["serve_history_bytes"].set_function(size)

    def answered(self, scope: Scope, status: int, seconds: float) -> None:
        """Count an answer and its duration."""
        path = scope["path"]
        route = next((name for begins, name in _ROUTES if begins.match(path)), "page")
        self._requests.labels(route, f"{status // 100}xx").inc()
        self._duration.labels(route).observe(seconds)
