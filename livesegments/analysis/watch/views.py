"""A snapshot as a screen of a terminal, from 80 x 24 up, and as a line, ASCII but for names."""

from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from livesegments.analysis.watch.snapshot import Snapshot
from livesegments.rendering.formats import (
    DOUBT,
    UNKNOWN,
    marked,
    number,
    percent,
    printable,
    segment_name,
)
from livesegments.rendering.reasons import main_reason
from livesegments.rendering.terminal import COLORS, WIDE, changes_table, segment_table

_LINES_ABOVE_CHANGES = 9
"""Lines of the screen without the changes, and without two for each segment."""


class Frame:
    """A snapshot drawn into the space available; the list of changes takes the rest.

    ``unit`` goes before amounts of money.
    """

    def __init__(self, snapshot: Snapshot, unit: str = "") -> None:
        self.snapshot, self.unit = snapshot, unit

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Yield the lines of the screen, top to bottom."""
        snapshot, width = self.snapshot, options.max_width
        more = len(snapshot.troubles) + bool(snapshot.doubted)
        left = (options.height or console.height) - _LINES_ABOVE_CHANGES - more
        left -= 2 * len(snapshot.segments)
        yield _head(snapshot)
        yield _figures(snapshot)
        for trouble in snapshot.troubles:
            yield _fitted(f"{trouble}; older figures stay", "bold red")
        yield segment_table(snapshot.segments, snapshot.segmentation.features, width, self.unit)
        if snapshot.doubted:
            yield _fitted(DOUBT, "dim")
        yield _others(snapshot)
        yield _drift(snapshot)
        if left > 0:  # many segments fill the screen
            yield Rule(_transitions_title(snapshot), style="dim", align="left")
            yield _transitions(snapshot, width)
        yield Rule("Last changes and why", style="dim", align="left")
        newest = snapshot.newest[: max(left, 1)]
        yield changes_table(
            newest, width, lambda change: f"{change.decided_at:%H:%M:%S}", doubted=snapshot.doubted
        )


def _head(snapshot: Snapshot) -> RenderableType:
    line = Table.grid(expand=True)
    line.add_column(no_wrap=True, overflow="ellipsis")
    line.add_column(justify="right", no_wrap=True)
    line.add_row(
        Text(f"Livesegments: group {snapshot.group_id}", style="bold"),
        Text(f"Ctrl-C ends it  {snapshot.at:%H:%M:%S} UTC", style="dim"),
    )
    return line


def _figures(snapshot: Snapshot) -> Text:
    moves = snapshot.moves
    changed = number(None if moves is None else sum(moves.since_start.values()))
    skipped = f" ({moves.skipped:,} not looked at)" if moves and moves.skipped else ""
    recovering = f"  {snapshot.recovering} RECOVERING" if snapshot.recovering else ""
    return _fitted(
        f"workers {number(snapshot.workers)}  lag {number(snapshot.lag)}{recovering}"
        f"  changes {changed}{skipped}, {rates(snapshot)}"
    )


def _others(snapshot: Snapshot) -> Text:
    # Both figures are exact, but not of the same moment.
    others = None if snapshot.records is None else max(0, snapshot.records - snapshot.counted)
    text = f"{'no segment':<21} {number(others):>5}  no purchase in the window, or no consent"
    return _fitted(text, "dim")


def _drift(snapshot: Snapshot) -> Text:
    early = " (provisional)" if snapshot.provisional else ""
    drift = snapshot.drift
    return _fitted(
        f"generation {number(snapshot.number)}{early}"
        f"  shares PSI {number(drift.share_psi, 2)}"
        f" (noise up to {number(drift.share_psi_critical, 2)})"
        f"  explained {percent(drift.explained_variance)}"
    )


def _transitions_title(snapshot: Snapshot) -> str:
    moves = snapshot.moves
    if moves is None:
        return "Moves"
    since = snapshot.at.timestamp() - moves.since_s
    return f"Moves of the last {since / 60:.0f} minutes, from (rows) and to"


def _transitions(snapshot: Snapshot, width: int) -> Table:
    table = Table(box=None, padding=(0, 1, 0, 0), pad_edge=False, header_style="dim")
    segments = [(row.id, row.name) for row in snapshot.segments]
    table.add_column("", width=20, no_wrap=True, overflow="ellipsis")
    for _, name in (*segments, (None, "none")):
        heading = name if width >= 2 * WIDE else name.split()[0]
        table.add_column(heading, justify="right", width=max(9, min(len(heading), 20)))
    moves = snapshot.moves.last_hour if snapshot.moves else {}
    to = [*(each for each, _ in segments), None]
    for before, name in (*segments, (None, "no segment")):
        counts = [moves.get((before, after), 0) for after in to]
        table.add_row(
            Text(name, style=COLORS.get(before or "", "")),
            *(
                f"{n:,}" if n else Text("." if after != before else "", "dim")
                for n, after in zip(counts, to, strict=True)
            ),
        )
    return table


def _fitted(text: str, style: str = "") -> Text:
    return Text(text, style, no_wrap=True, overflow="ellipsis")


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
            _counted(snapshot),
            f"lag {number(snapshot.lag)}, workers {number(snapshot.workers)}",
            _largest_shift(snapshot),
            _newest(snapshot),
        ]
    )


def rates(snapshot: Snapshot) -> str:
    """Return the changes a second over the last minute, by origin."""
    moves = snapshot.moves
    if moves is None or not moves.per_second:
        return "0/s"
    ordered = sorted(moves.per_second.items(), key=lambda each: -each[1])
    return ", ".join(
        f"{origin} {number(rate) if rate >= 10 else f'{rate:.2g}'}/s" for origin, rate in ordered
    )


def _largest_shift(snapshot: Snapshot) -> str:
    shifts = [(row.shift, row.name) for row in snapshot.segments if row.shift is not None]
    farthest, name = max(shifts, default=(None, ""))
    return (
        f"generation {number(snapshot.number)},"
        f" shares PSI {number(snapshot.drift.share_psi, 2)}, largest shift {number(farthest, 2)}"
        + (f" ({name})" if name else "")
        + (", provisional" if snapshot.provisional else "")
    )


def _counted(snapshot: Snapshot) -> str:
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
        f"{printable(change.customer_id)}: {segment_name(change.previous_segment, doubted)} ->"
        f" {segment_name(change.segment, doubted)} ({main_reason(change)})"
    )
