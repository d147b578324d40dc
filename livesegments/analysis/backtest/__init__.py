"""Backtests: settings tried on a history with the service's own decisions, without servers."""
