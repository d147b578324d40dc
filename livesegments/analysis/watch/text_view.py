"""The watch without a terminal: one line per snapshot, ASCII except for names and ids."""

from livesegments.analysis.watch.snapshot import Snapshot
from livesegments.rendering.formats import UNKNOWN, marked, number, percent, segment_name
from livesegments.rendering.reasons import main_reason


def line(snapshot: Snapshot) -> str:
    """Return a snapshot as one line."""
    sizes = ", ".join(
        f"{marked(row.name, row.persona_distance)} {row.customers:,} ({percent(row.share)})"
        for row in snapshot.segments
    )
    return " | ".join(
        [
            f"{snapshot.at:%H:%M:%S}Z",
            *(f"TROUBLE {each}" for each in snapshot.troubles),
            sizes if snapshot.counted else "no segments yet",
            _changes(snapshot),
            f"lag {number(snapshot.lag)}, workers {number(snapshot.workers)}",
            _drift(snapshot),
            _newest(snapshot),
        ]
    )


def rates(snapshot: Snapshot) -> str:
    """Return the changes a second over the last minute, by origin."""
    moves = snapshot.moves
    if moves is None or not moves.per_second:
        return "0/s"
    ordered = sorted(moves.per_second.items(), key=lambda each: -each[1])
    return ", ".join(f"{origin} {rate:.2g}/s" for origin, rate in ordered)


def _drift(snapshot: Snapshot) -> str:
    shifts = [(row.shift, row.name) for row in snapshot.segments if row.shift is not None]
    farthest, name = max(shifts, default=(None, ""))
    return (
        f"generation {number(snapshot.number)},"
        f" shares PSI {number(snapshot.drift.share_psi, 2)}, largest shift {number(farthest, 2)}"
        + (f" ({name})" if name else "")
        + (", provisional" if snapshot.provisional else "")
    )


def _changes(snapshot: Snapshot) -> str:
    moves = snapshot.moves
    if moves is None:
        return f"changes {UNKNOWN}"
    skipped = f", {moves.skipped:,} not looked at" if moves.skipped else ""
    return f"{sum(moves.since_start.values()):,} changes, {rates(snapshot)}{skipped}"


def _newest(snapshot: Snapshot) -> str:
    if not snapshot.newest:
        return "no change yet"
    change, doubted = snapshot.newest[0], snapshot.doubted
    return (
        f"{change.customer_id}: {segment_name(change.previous_segment, doubted)} ->"
        f" {segment_name(change.segment, doubted)} ({main_reason(change)})"
    )
