"""The live view of the demo: one screen that fits the terminal, from 80 x 24 up."""

from __future__ import annotations

from collections.abc import Iterable

from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from contracts.segments import SegmentChange, SegmentRef
from features.catalogue import CATALOGUE
from livesegments.demo_picture import (
    SIGMA,
    UNKNOWN,
    Picture,
    SegmentRow,
    Step,
    centroid_cells,
    day,
    deviations,
    milliseconds,
    reason,
    segment_name,
    share,
    warmup,
)

TITLE = "Livesegments demo: a year of grocery purchases, live"
COLORS = {
    "high-value-customers": "bright_blue",
    "young-professionals": "cyan",
    "families": "green",
    "students": "magenta",
    "retirees": "yellow",
}

_WIDE = 100
_LINES_ABOVE_CHANGES = 14


class Frame:
    """A picture, drawn into whatever space there is; only the list of changes gives way."""

    def __init__(self, picture: Picture) -> None:
        self.picture = picture

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Yield the lines of the screen, top to bottom."""
        picture, width = self.picture, options.max_width
        room = (options.height or console.height) - _LINES_ABOVE_CHANGES
        yield _head(picture)
        yield _progress(picture)
        yield _figures(picture, width)
        yield Text()
        yield segment_table(picture.segments, width)
        yield unassigned_line(picture)
        yield Rule("Drift since the last fit", style="dim", align="left")
        yield _drift(picture, width)
        if picture.changes or not picture.steps:
            legend = f"Last changes and why ({SIGMA}: from the mean of all)"
            yield Rule(legend, style="dim", align="left")
            yield changes_table(picture.recent[: max(room, 1)], width)
        else:
            yield Rule("Getting ready", style="dim", align="left")
            yield _steps(picture.steps)


class LiveView:
    """Draws pictures on the terminal's second screen, and gives the first one back afterwards."""

    def __init__(self, console: Console) -> None:
        self._live = Live(
            Frame(Picture(0.0)), console=console, screen=True, refresh_per_second=8, transient=True
        )

    def __enter__(self) -> LiveView:
        self._live.start(refresh=True)
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    def show(self, picture: Picture) -> None:
        """Draw a picture from now on."""
        self._live.update(Frame(picture))

    def summarize(self, parts: Iterable[RenderableType]) -> None:
        """Print the summary, once the first screen is back."""
        for part in parts:
            self._live.console.print(part, highlight=False)


def _head(picture: Picture) -> RenderableType:
    line = Table.grid(expand=True)
    line.add_column()
    line.add_column(justify="right")
    elapsed = Text(f"Ctrl-C ends it  {picture.elapsed:.0f} s", style="dim")
    line.add_row(Text(TITLE, style="bold"), elapsed)
    return line


def _progress(picture: Picture) -> RenderableType:
    line = Table.grid(expand=True, padding=(0, 1))
    line.add_column(width=11)
    line.add_column(ratio=1)
    line.add_column(justify="right")
    total = f" of {picture.total:,}" if picture.total else ""
    done = f"{picture.purchases:,}{total} purchases"
    rate = UNKNOWN if picture.rate is None else f"{picture.rate:,.0f}"
    line.add_row(
        day(picture.event_time),
        ProgressBar(total=picture.total or 1, completed=picture.purchases, style="dim"),
        Text.assemble(done, (f"  {rate}/s", "bold")),
    )
    return line


def _figures(picture: Picture, width: int) -> Text:
    metrics = picture.metrics
    if not picture.changes and metrics.warmup_required:
        return Text(warmup(metrics))
    latency = milliseconds(metrics.latency)
    text = f"{picture.changes:,} changes  lag {metrics.lag:,}  "
    text += f"event to change {latency}" if width >= _WIDE else latency.replace(",", " ")
    return Text(f"{picture.assigned:,} households in a segment  " + text, overflow="ellipsis")


def segment_table(rows: Iterable[SegmentRow], width: int, unit: str = "$") -> Table:
    """Return the five segments with their sizes, shares and centroids in natural units.

    ``unit`` goes before amounts of money.
    """
    table = Table(box=None, padding=(0, 1, 0, 0), pad_edge=False, header_style="bold")
    headings = [each.heading for each in CATALOGUE]
    more = 3 if width >= _WIDE else 0
    columns = [len(each.heading) + each.is_money + more for each in CATALOGUE]
    # What name, size, share, drift and the spaces between leave.
    bar = max(0, min(24, width - sum(columns) - len(columns) - 38))
    table.add_column("Segment", width=20)
    table.add_column("Size", justify="right", width=5)
    table.add_column("Share", width=bar + 5)
    for heading, cells in zip(headings, columns, strict=True):
        table.add_column(heading, justify="right", width=cells)
    table.add_column("Drift", justify="right", width=5)
    for row in rows:
        color = COLORS.get(row.id, "")
        filled = round((row.share or 0.0) * bar * 2)
        table.add_row(
            Text(row.name, style=color),
            f"{row.customers:,}",
            Text.assemble((f"{share(row.share):>4} ", ""), ("━" * min(filled, bar), color)),
            *centroid_cells(row.centroid, unit),
            deviations(row.shift),
        )
    return table


def unassigned_line(picture: Picture) -> Text:
    """Return the customers who were in a segment and are in none now."""
    return Text(
        f"{'no segment':<20} {picture.unassigned:>5,}  bought nothing in 90 days", style="dim"
    )


def _drift(picture: Picture, width: int) -> Text:
    metrics = picture.metrics
    psi, noise = deviations(metrics.psi), deviations(metrics.psi_critical)
    parts = [f"shares PSI {psi} (noise up to {noise})"]
    parts.append(f"explained variance {share(metrics.explained_variance)}")
    held = f"{metrics.held_back:,}"
    parts.append(f"{held} switches held back by the margin" if width >= _WIDE else f"{held} held")
    return Text("  ".join(parts), overflow="ellipsis")


def changes_table(changes: Iterable[SegmentChange], width: int) -> Table:
    """Return changes, one a line: when, who, from where, to where, and why."""
    table = Table.grid(padding=(0, 1, 0, 0), expand=True)
    table.add_column(width=6 if width < _WIDE else 11, style="dim")
    narrow = width < _WIDE
    table.add_column(width=4 if narrow else 14, no_wrap=True, justify="right" if narrow else "left")
    table.add_column(width=20)
    table.add_column(width=22)
    table.add_column(ratio=1, no_wrap=True, overflow="ellipsis", style="dim")
    for change in changes:
        table.add_row(
            f"{change.occurred_at:%d %b}" if width < _WIDE else day(change.occurred_at),
            change.customer_id if width < _WIDE else f"household {change.customer_id}",
            colored(change.previous_segment),
            Text.assemble("→ ", colored(change.segment)),
            reason(change),
        )
    return table


def colored(segment: SegmentRef | None) -> Text:
    """Return a segment's name in its color, where it has one."""
    return Text(segment_name(segment), style=COLORS.get(segment.id, "") if segment else "dim")


def _steps(steps: Iterable[Step]) -> Group:
    lines = []
    for step in steps:
        done = step.seconds is not None
        mark = ("✓ ", "green") if done else ("… ", "yellow")
        took = f"  {step.seconds:.1f} s" if step.seconds is not None else ""
        lines.append(Text.assemble(mark, step.name, (f"  {step.detail}{took}", "dim")))
    return Group(*lines)
