"""Self-contained HTML pages from Jinja2 templates: no script, nothing loaded from elsewhere."""

from functools import cache
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from livesegments.rendering.formats import day, number, percent
from livesegments.rendering.plots import areas, bars, lines, series, spread, totals


def render(template: str, **context: Any) -> str:
    """Return the page that a template makes; every value is escaped.

    Parameters
    ----------
    template
        Path within the package ``livesegments``, such as ``analysis/report/report.html.j2``.
    **context
        Variables of the template.
    """
    return _environment().get_template(template).render(context)


@cache
def _environment() -> Environment:
    found = Environment(
        loader=PackageLoader("livesegments", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    found.filters |= {"day": day, "number": number, "percent": percent}
    found.globals |= {each.__name__: each for each in (areas, bars, lines, series, spread, totals)}
    return found
