"""`livesegments demo`: the whole service on one machine, on a year of real grocery purchases.

It composes what runs in production: the worker and the replay as processes of their own, and the
live view. Only broker and store are small ones that come as Python packages.
"""

from datetime import UTC, datetime

LIVE_FROM = datetime(2017, 2, 1, tzinfo=UTC)
"""Purchases before are history, sent at once: they only make the first customers."""
PURCHASES_FILE, PROFILES_FILE = "purchases.parquet", "profiles.parquet"
GROUPS_FILE = "groups.parquet"
