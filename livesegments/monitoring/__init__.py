"""Metrics, health endpoints and the watchdog of a worker.

`metric_specs` lists every series, `metrics` sets them, `health_server` serves them, `watchdog` ends
a worker that hangs, `generate_docs` writes docs/metrics.md.
"""
