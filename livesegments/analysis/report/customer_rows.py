"""Rows of customers as the report shows them: keyed hash, dates and amounts."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from livesegments.contracts.timestamps import rfc3339
from livesegments.features.erasures import marker_key
from livesegments.features.window import Tiling, window
from livesegments.operations.customer_scan import Stretch

HASH_DIGITS = 12
_MARKETING = {-1: None, 0: False, 1: True}


@dataclass(frozen=True, slots=True)
class CustomerRow:
    """One customer: ``customer_id`` appears in lists only, never on a page.

    ``segment`` is an index, -1 for none; ``last_purchase`` the date of the end of the last
    purchase's tile, or of the clock.
    """

    customer_id: str
    hash: str
    segment: int
    purchases: int
    spend: float
    last_purchase: str
    marketing: bool | None


def hashed(customer_id: str, group_id: str) -> str:
    """Return the first digits of the keyed hash of an id in the store."""
    return marker_key(customer_id, group_id).hex()[:HASH_DIGITS]


def customer_rows(stretch: Stretch, layout: Tiling, group_id: str) -> Iterator[CustomerRow]:
    """Yield the customers of a batch, with their purchases in the window."""
    records = stretch.records
    at = window(records, layout.tile(stretch.clock_us))
    last_us = np.minimum((records["head"] + 1) * layout.tile_us - 1, stretch.clock_us)
    columns = (
        stretch.names,
        records["segment"].tolist(),
        at.purchases.tolist(),
        at.cents.tolist(),
        dates(last_us.tolist()),
        records["marketing"].tolist(),
    )
    for name, segment, purchases, cents, last, marketing in zip(*columns, strict=True):
        yield CustomerRow(
            name,
            hashed(name, group_id),
            segment,
            purchases,
            cents / 100,
            last,
            _MARKETING[marketing],
        )


def dates(times_us: list[int]) -> list[str]:
    """Return the date of each time."""
    return [text[:10] for text in rfc3339(times_us)]
