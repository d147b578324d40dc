"""Metrics, health endpoints and the watchdog of a worker."""
