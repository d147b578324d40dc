"""Pages and texts from Jinja2 templates."""

from datetime import UTC, datetime
from functools import cache
from textwrap import wrap
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape

from livesegments.rendering.formats import (
    DOUBT,
    MEANS,
    aligned,
    day,
    marked,
    marked_if,
    minute,
    nearer,
    number,
    percent,
    segment_name,
    sparkline,
)
from livesegments.rendering.plots import areas, bars, lines, series, spread, totals
from livesegments.rendering.reasons import main_reason


def render(template: str, **context: Any) -> str:
    """Return the page or text that a template makes.

    Pages are self-contained: no script runs, nothing is loaded, and every value is escaped.
    ``template`` is a path within the package ``livesegments``; pages end in ``.html.j2``, texts in
    ``.txt.j2``.
    """
    return _environment().get_template(template).render(context)


def compile_pages() -> None:
    """Compile the templates of pages now, so that the first page does not wait for it."""
    environment = _environment()
    for name in environment.list_templates(["j2"]):
        if name.endswith(".html.j2"):
            environment.get_template(name)


@cache
def _environment() -> Environment:
    found = Environment(
        loader=PackageLoader("livesegments", "."),
        autoescape=select_autoescape(["html.j2"]),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    found.filters |= {
        "aligned": aligned,
        "day": day,
        "marked": marked,
        "marked_if": marked_if,
        "minute": minute,
        "moment": moment,
        "nearer": nearer,
        "number": number,
        "percent": percent,
        "reason": main_reason,
        "segment_name": segment_name,
        "sparkline": sparkline,
        "wrapped": wrapped,
    }
    found.globals |= {each.__name__: each for each in (areas, bars, lines, series, spread, totals)}
    found.globals |= {"DOUBT": DOUBT, "MEANS": MEANS}
    return found


def moment(at: datetime) -> str:
    """Return a time in UTC to the second."""
    return f"{at:%Y-%m-%d %H:%M:%S} UTC"


def moment_us(time_us: int) -> str:
    """Return a time in microseconds since the epoch, in UTC to the second."""
    return moment(datetime.fromtimestamp(time_us / 1e6, UTC))


def wrapped(text: str, first: str = "", others: str | None = None) -> str:
    """Return a text in lines of 80, with indents of the first line and of the others."""
    others = " " * len(first) if others is None else others
    return "\n".join(wrap(text, 80, initial_indent=first, subsequent_indent=others))
