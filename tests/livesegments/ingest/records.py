"""Decoded records for queries."""

import json
from collections.abc import Sequence
from typing import Any

import numpy as np

from livesegments.ingest.query import Records


def records(values: Sequence[Any], *, keys: Sequence[str | None] | None = None) -> Records:
    """Return records with these values: text as it is, anything else as JSON."""
    n = len(values)
    return Records(
        topic="shop.orders",
        keys=keys or [None] * n,
        values=[
            each if each is None or isinstance(each, str) else json.dumps(each) for each in values
        ],
        headers=["{}"] * n,
        partitions=np.full(n, 3, np.int32),
        offsets=np.arange(10, 10 + n),
        timestamps_ms=np.full(n, 1_772_354_000_000),
        is_decoded=np.ones(n, np.bool_),
    )
