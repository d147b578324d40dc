"""Tools that read a deployment or a history: reports, backtests, single customers, live view."""
