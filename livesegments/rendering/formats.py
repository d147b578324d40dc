"""Dates, numbers and columns as people write them, and numbers for JSON."""

from collections.abc import Container, Iterable, Sequence
from datetime import date
from math import ceil, isfinite
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # commands import this module, and --help waits for no pydantic
    from livesegments.contracts.segments import SegmentRef

UNKNOWN = "-"
FAR = 1.0
"""Standard deviations from its expected position at which a segment's name is doubted."""
DOUBT = f"? after a name: its customers are more than {FAR:g} sd from what the name says"
MEANS = (
    "Means of purchases, spend, basket and income are those of their logarithms: below the plain"
    " mean where a few customers are far above."
)
_BLOCKS = " ▁▂▃▄▅▆▇█"
_TREND = 24


def day(text: str) -> str:
    """Return an ISO date as people write it, with the hour if it has one."""
    hour = f" {text[11:13]}:00" if len(text) > 10 else ""
    return f"{date.fromisoformat(text[:10]):%d %b %Y}".lstrip("0") + hour


def minute(text: str | None) -> str:
    """Return an RFC 3339 time in UTC to the minute, a dash for None."""
    return UNKNOWN if text is None else f"{text[:10]} {text[11:16]} UTC"


def percent(share: float | None, digits: int = 0) -> str:
    """Return a share in per cent, a dash for None and NaN."""
    return UNKNOWN if share is None or share != share else f"{share * 100:.{digits}f}%"


def nearer(share: float) -> str:
    """Return how much nearer a segment is than another, as a share; below 0 it is farther.

    Rounded down, or what is not quite enough to switch would look as if it were.
    """
    if share > 0:
        return f"{int(share * 1000) / 10:g}% nearer"
    return f"{percent(-share) if share >= -1 else 'over 100%'} farther"


def number(value: float | None, digits: int = 0) -> str:
    """Return a number with thousands separated, a dash for None and NaN."""
    return UNKNOWN if value is None or value != value else f"{value:,.{digits}f}"


def printable(text: str) -> str:
    """Return text that is safe for a terminal: control and invisible characters are escaped."""
    return "".join(each if each.isprintable() else repr(each)[1:-1] for each in text)


def aligned(rows: Sequence[Sequence[str]]) -> str:
    """Return rows in columns: the first aligned to the left, the others to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(
            cell.rjust(width) if i else cell.ljust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    )


def is_doubted(persona_distance: float | None) -> bool:
    """Return whether customers are too far from a name's persona to bear the name."""
    return (persona_distance or 0.0) > FAR


def marked(name: str, persona_distance: float | None) -> str:
    """Return a segment's name, marked where it is doubted."""
    return marked_if(name, is_doubted(persona_distance))


def marked_if(name: str, doubted: bool) -> str:
    """Return a segment's name with the mark that `DOUBT` explains, or without."""
    return f"{name}?" if doubted else name


def segment_name(segment: "SegmentRef | None", doubted: Container[str] = ()) -> str:
    """Return a segment's name, marked if its id is ``doubted``."""
    if segment is None:
        return "no segment"
    return marked_if(printable(segment.name), segment.id in doubted)


def sparkline(values: Sequence[float]) -> str:
    """Return values as a line of 24 blocks, the highest full."""
    at = [len(values) * i // _TREND for i in range(_TREND)]
    top = max(values) or 1
    return "".join(_BLOCKS[ceil(values[i] * 8 / top)] for i in at)


def known(value: float, digits: int = 4) -> float | None:
    """Return a number rounded, None for NaN or infinity."""
    return round(float(value), digits) if isfinite(value) else None


def named(
    names: Sequence[str], values: Iterable[float], digits: int = 4
) -> dict[str, float | None]:
    """Return name -> number rounded, None for NaN."""
    return {name: known(value, digits) for name, value in zip(names, values, strict=True)}
