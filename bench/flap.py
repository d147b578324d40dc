"""Reassignments of published segments, with and without hysteresis, and by recency.

A year of Complete Journey under each combination of the switch margin and a dwell; then with the
segmentation `rfm`, and with its recency measured otherwise or left out. A reassignment
is a change from one segment to another. Flapping shows up among these; a customer's first
assignment and the end of the last one are unavoidable and are not counted.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.history import History, journey
from bench.report import Table
from bench.streams import Events
from livesegments.config.segmentation import built_in
from livesegments.features.feature_specs import BY_NAME, LOG1P
from livesegments.features.record_codec import Records
from livesegments.features.segmentation import Segmentation
from livesegments.features.window import DAY_US, Window, tiles_since_purchase

BATCH, MARGIN, DWELL_DAYS = 250, 0.15, 3
HOLDS: dict[str, tuple[float, int]] = {
    "neither": (0.0, 0),
    f"margin {MARGIN}": (MARGIN, 0),
    f"dwell of {DWELL_DAYS} days": (0.0, DWELL_DAYS),
    "both": (MARGIN, DWELL_DAYS),
}


def run(events: Events | None = None, batch: int = BATCH, warmup: int = 500) -> Table:
    """Replay the year once for each combination."""
    stream = journey() if events is None else events
    table = Table(
        "Flapping: published changes a year on Complete Journey",
        ("", "changes", "reassigned", "a customer", "by refits", "generations"),
    )
    for name, (margin, days) in HOLDS.items():
        history = History(warmup, margin=margin, min_dwell_us=days * DAY_US)
        for start in range(0, len(stream), batch):
            history.take(stream[start : start + batch])
        _add(table, name, history)
    table.note("by refits: reassigned because a next generation has other centroids")
    table.more.append(by_recency(stream, batch, warmup))
    return table


def by_recency(stream: Events, batch: int, warmup: int) -> Table:
    """Replay the year with `rfm`, and with other recencies in it."""
    rfm = built_in("rfm")
    recency = BY_NAME["recency"]
    days = replace(recency, measure=_days)
    without = Segmentation(
        rfm.features[:2],
        tuple(replace(each, position=each.position[:2]) for each in rfm.segments),
    )
    table = Table(
        f"Recency: published changes a year, segmentation rfm, margin {MARGIN}",
        ("", "changes", "reassigned", "a customer", "by refits", "generations"),
    )
    for name, segmentation in (
        ("recency in thirds of the window", rfm),
        ("recency in days", replace(rfm, features=(*rfm.features[:2], days))),
        (
            "logarithm of the days",
            replace(rfm, features=(*rfm.features[:2], replace(days, scale=LOG1P))),
        ),
        ("no recency", without),
    ):
        history = History(warmup, margin=MARGIN, segmentation=segmentation)
        for start in range(0, len(stream), batch):
            history.take(stream[start : start + batch])
        _add(table, name, history)
    return table


def _days(records: Records, window: Window) -> NDArray[Any]:
    since = tiles_since_purchase(records, window.clock_tile)
    return np.asarray(since * window.tile_days, np.float64)


def _add(table: Table, name: str, history: History) -> None:
    reassigned = moves(history.changes)
    table.add(
        name,
        f"{len(history.changes):,}",
        f"{len(reassigned):,}",
        f"{len(reassigned) / max(len(history.records), 1):.1f}",
        f"{sum(origin == 'model' for _, _, origin in reassigned):,}",
        str(len(history.generations)),
    )


def moves(changes: Sequence[tuple[str, str, str]]) -> list[tuple[str, str, str]]:
    """Return the changes from one segment to another."""
    return [change for change in changes if "none" not in change[:2]]
