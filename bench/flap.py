"""Reassignments of published segments, with and without hysteresis.

A year of Complete Journey under each combination of the switch margin and a dwell. A reassignment
is a change from one segment to another. Flapping shows up among these; a customer's first
assignment and the end of the last one are unavoidable and are not counted.
"""

from collections.abc import Sequence

from bench.history import History, journey
from bench.report import Table
from bench.streams import Events
from livesegments.features.window import DAY_US

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
        changes = history.changes
        reassigned = moves(changes)
        table.add(
            name,
            f"{len(changes):,}",
            f"{len(reassigned):,}",
            f"{len(reassigned) / max(len(history.records), 1):.1f}",
            f"{sum(origin == 'model' for _, _, origin in reassigned):,}",
            str(len(history.generations)),
        )
    table.note("by refits: reassigned because a next generation has other centroids")
    return table


def moves(changes: Sequence[tuple[str, str, str]]) -> list[tuple[str, str, str]]:
    """Return the changes from one segment to another."""
    return [change for change in changes if "none" not in change[:2]]
