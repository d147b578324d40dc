"""Tables of segments and changes for terminals, in the space there is."""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from rich.table import Table
from rich.text import Text

from livesegments.contracts.segments import SegmentChange, SegmentRef
from livesegments.features.feature_specs import Feature
from livesegments.rendering.formats import marked, number, percent, printable, segment_name
from livesegments.rendering.reasons import main_reason

WIDE = 100
"""Columns from which tables show more."""
COLORS = {
    "high-value-customers": "bright_blue",
    "young-professionals": "cyan",
    "families": "green",
    "students": "magenta",
    "retirees": "yellow",
}
"""Of the built-in segments, by id."""
_IN_THOUSANDS = 10_000


@dataclass(frozen=True, slots=True)
class SegmentRow:
    """A segment's size, share and mean, how far its centroid moved, and its distance from its name.

    None is unknown.
    """

    id: str
    name: str
    customers: int
    share: float | None
    centroid: Mapping[str, float | None] | None
    shift: float | None
    persona_distance: float | None = None


def segment_table(
    rows: Iterable[SegmentRow], features: Sequence[Feature], width: int, unit: str = ""
) -> Table:
    """Return segments with their sizes, shares and centroids in natural units.

    ``unit`` goes before amounts of money.
    """
    table = Table(box=None, padding=(0, 1, 0, 0), pad_edge=False, header_style="bold")
    more = 3 if width >= WIDE else 0
    columns = [len(each.heading) + each.is_money + more for each in features]
    # Name, size, share, drift and the spaces between take 39 columns.
    bar = max(0, min(24, width - sum(columns) - len(columns) - 39))
    table.add_column("Segment", width=21, no_wrap=True, overflow="ellipsis")
    table.add_column("Size", justify="right", width=5)
    table.add_column("Share", width=bar + 5)
    for feature, cells in zip(features, columns, strict=True):
        table.add_column(feature.heading, justify="right", width=cells)
    table.add_column("Drift", justify="right", width=5)
    for row in rows:
        color = COLORS.get(row.id, "")
        filled = min(round((row.share or 0.0) * bar * 2), bar)
        table.add_row(
            Text(marked(row.name, row.persona_distance), style=color),
            f"{row.customers:,}",
            Text.assemble(f"{percent(row.share):>4} ", ("━" * filled, color)),
            *(_mean(row.centroid, each, unit) for each in features),
            number(row.shift, 2),
        )
    return table


def _mean(centroid: Mapping[str, float | None] | None, feature: Feature, unit: str) -> str:
    value = None if centroid is None else centroid[feature.name]
    if value is None or not feature.is_money:
        return number(value, feature.digits)
    return unit + (number(value) if value < _IN_THOUSANDS else f"{number(value / 1000)}k")


def changes_table(
    changes: Iterable[SegmentChange],
    width: int,
    when: Callable[[SegmentChange], str],
    *,
    from_one: bool = False,
    doubted: Collection[str] = (),
) -> Table:
    """Return changes, one per line: when, customer, from, to and why.

    With ``from_one`` they all come from one segment, which is left out. Names of segments with a
    ``doubted`` id are marked.
    """
    mark = bool(doubted)
    table = Table.grid(padding=(0, 1, 0, 0), expand=True)
    table.add_column(width=8, style="dim")
    for columns in (8 if width < WIDE else 21, *(() if from_one else (20 + mark,)), 22 + mark):
        table.add_column(width=columns, no_wrap=True, overflow="ellipsis")
    table.add_column(ratio=1, no_wrap=True, overflow="ellipsis", style="dim")
    for change in changes:
        why, sources = main_reason(change), () if from_one else (change.previous_segment,)
        table.add_row(
            when(change),
            Text(printable(change.customer_id)),
            *(colored(each, doubted) for each in sources),
            Text.assemble("→ ", colored(change.segment, doubted)),
            # On narrow terminals the figures give way.
            Text(str(why) if from_one or width >= WIDE else why.words),
        )
    return table


def colored(segment: SegmentRef | None, doubted: Collection[str]) -> Text:
    """Return a segment's name in its color, where it has one."""
    style = COLORS.get(segment.id, "") if segment else "dim"
    return Text(segment_name(segment, doubted), style=style)
