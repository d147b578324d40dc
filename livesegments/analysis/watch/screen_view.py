"""The watch on a terminal: one screen that fits it, from 80 x 24 up."""

from collections.abc import Iterable

from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from contracts.segments import SegmentChange
from livesegments.analysis.watch.snapshot import Snapshot
from livesegments.analysis.watch.text_view import number, rates
from livesegments.demo_picture import UNKNOWN, deviations, reason, share
from livesegments.demo_view import COLORS, colored, segment_table

_WIDE = 100
_LINES_ABOVE_CHANGES = 19


class Frame:
    """A moment, drawn into whatever space there is; only the list of changes gives way."""

    def __init__(self, snapshot: Snapshot) -> None:
        self.snapshot = snapshot

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Yield the lines of the screen, top to bottom."""
        snapshot, width = self.snapshot, options.max_width
        room = (options.height or console.height) - _LINES_ABOVE_CHANGES - len(snapshot.troubles)
        yield _head(snapshot)
        yield _figures(snapshot)
        for trouble in snapshot.troubles:
            yield _fitted(Text(f"{trouble}; what was seen before stays", style="bold red"))
        yield segment_table(snapshot.segments, width, unit="")
        yield _others(snapshot)
        yield _drift(snapshot)
        yield Rule(_moves_title(snapshot), style="dim", align="left")
        yield _matrix(snapshot, width)
        yield Rule("Last changes and why", style="dim", align="left")
        yield _changes(snapshot.newest[: max(room, 1)], width)


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
    changed = UNKNOWN if moves is None else f"{sum(moves.since_start.values()):,}"
    skipped = f" ({moves.skipped:,} not looked at)" if moves and moves.skipped else ""
    recovering = f"  {snapshot.recovering} RECOVERING" if snapshot.recovering else ""
    return _fitted(
        Text(
            f"workers {number(snapshot.workers)}  lag {number(snapshot.lag)}{recovering}"
            f"  changes {changed}{skipped}, {rates(snapshot)}"
        )
    )


def _others(snapshot: Snapshot) -> Text:
    others = None if snapshot.records is None else max(0, snapshot.records - snapshot.counted)
    # Exact on either side, but not of one moment.
    text = f"{'no segment':<20} {number(others):>5}  no purchase in the window, or no consent"
    return _fitted(Text(text, style="dim"))


def _drift(snapshot: Snapshot) -> Text:
    noise = f"(noise up to {deviations(snapshot.psi_critical)})"
    early = " (provisional)" if snapshot.provisional else ""
    return _fitted(
        Text(
            f"generation {number(snapshot.generation)}{early}"
            f"  shares PSI {deviations(snapshot.psi)} {noise}"
            f"  explained {share(snapshot.explained_variance)}"
        )
    )


def _moves_title(snapshot: Snapshot) -> str:
    moves = snapshot.moves
    if moves is None:
        return "Moves"
    since = snapshot.at.timestamp() - moves.since_s
    return f"Moves of the last {since / 60:.0f} minutes, from (rows) and to"


def _matrix(snapshot: Snapshot, width: int) -> Table:
    table = Table(box=None, padding=(0, 1, 0, 0), pad_edge=False, header_style="dim")
    segments = [(row.id, row.name) for row in snapshot.segments]
    table.add_column("", width=20, no_wrap=True, overflow="ellipsis")
    for _, name in (*segments, (None, "none")):
        heading = name if width >= 2 * _WIDE else name.split()[0]
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


def _changes(changes: Iterable[SegmentChange], width: int) -> Table:
    table = Table.grid(padding=(0, 1, 0, 0), expand=True)
    table.add_column(width=8, style="dim")
    table.add_column(width=8 if width < _WIDE else 21, no_wrap=True, overflow="ellipsis")
    for columns in (20, 22):
        table.add_column(width=columns, no_wrap=True, overflow="ellipsis")
    table.add_column(ratio=1, no_wrap=True, overflow="ellipsis", style="dim")
    for change in changes:
        why = reason(change)
        table.add_row(
            f"{change.decided_at:%H:%M:%S}",
            Text(change.customer_id),
            colored(change.previous_segment),
            Text.assemble("→ ", colored(change.segment)),
            # What made the worker look gives way to what stands out.
            Text(why if width >= _WIDE else why.split(": ", 1)[-1]),
        )
    return table


def _fitted(text: Text) -> Text:
    text.no_wrap, text.overflow = True, "ellipsis"
    return text
