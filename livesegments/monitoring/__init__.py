"""Metrics, health endpoints and the watchdog of a worker.

`series` defines a time series, `metric_specs` lists every one, `metrics` sets them,
`health_server` serves them, `watchdog` ends a worker that hangs, `generate_docs` writes
docs/metrics.md.
"""
