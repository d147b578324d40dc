"""Metrics, health endpoints and the watchdog of a worker.

`series` lists every series, `metrics` sets them, `http` serves them; `drift_report` works out what
is said of the model, `heartbeat` ends a worker that hangs, `document` writes docs/metrics.md.
"""
