"""The frame of a page and what is on it; every text that comes in is escaped here."""

from collections.abc import Container, Iterable, Mapping, Sequence
from html import escape
from importlib.resources import files

# Nothing is loaded from anywhere, and no script runs.
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
_ROWS_OVER_TIME = 13


def document(title: str, parts: Iterable[str]) -> str:
    """Return a whole page of parts that are HTML already."""
    style = files("livesegments.rendering").joinpath("page.css").read_text()
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<link rel="icon" href="data:,">'
        f"<title>{escape(title)}</title><style>{style}</style></head>\n<body><main>\n"
        + "\n".join(parts)
        + "\n</main></body></html>\n"
    )


def heading(text: str, level: int = 2) -> str:
    """Return a heading."""
    return f"<h{level}>{escape(text)}</h{level}>"


def paragraph(text: str, kind: str = "") -> str:
    """Return a paragraph; ``dim`` explains, ``note`` warns."""
    return f"<p{_class(kind)}>{escape(text)}</p>"


def notes(texts: Sequence[str]) -> str:
    """Return what is to be known before the rest is read."""
    if not texts:
        return ""
    return f'<ul class="note">{"".join(f"<li>{escape(text)}</li>" for text in texts)}</ul>'


def facts(found: Iterable[tuple[str, str]]) -> str:
    """Return figures to be seen first: (what, value)."""
    items = (f"<div><dt>{escape(what)}</dt><dd>{escape(value)}</dd></div>" for what, value in found)
    return f'<dl class="facts">{"".join(items)}</dl>'


def figure(plot: str, caption: str = "") -> str:
    """Return a plot with what is said below it."""
    return f"<figure>{plot}{f'<figcaption>{escape(caption)}</figcaption>' * bool(caption)}</figure>"


def details(summary: str, head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table that opens when asked for."""
    return (
        f"<details><summary>{escape(summary)}</summary>{table(summary, '', head, rows)}</details>"
    )


def table(
    label: str,
    caption: str,
    head: Sequence[str],
    rows: Iterable[Sequence[str]],
    *,
    marked: Sequence[bool] | None = None,
    text: Container[int] = (),
    kind: str = "",
) -> str:
    """Return a table whose first column names the rows; the columns of ``text`` are words."""
    body = ""
    for i, (first, *cells) in enumerate(rows):
        given = _class("given") if marked and marked[i] else ""
        columns = "".join(
            f"<td{_class('text' if column in text else '')}>{_cell(cell)}</td>"
            for column, cell in enumerate(cells, 1)
        )
        body += f'<tr{given}><th scope="row">{_cell(first)}</th>{columns}</tr>'
    return scrolled(label, caption, head, body, kind, text)


def heat(
    label: str,
    caption: str,
    head: Sequence[str],
    rows: Iterable[tuple[str, Sequence[tuple[str, float]]]],
) -> str:
    """Return a table whose cells, (text, shade from -1 to 1), are the darker the more."""
    body = ""
    for name, cells in rows:
        columns = "".join(
            f'<td{_class("low" if shade < 0 else "")} style="--s:{abs(shade):.3f}">'
            f"{escape(text)}</td>"
            for text, shade in cells
        )
        body += f'<tr><th scope="row">{escape(name)}</th>{columns}</tr>'
    return scrolled(label, caption, head, body, kind="heat")


def moves(label: str, names: Mapping[str, str], counts: Mapping[str, Mapping[str, int]]) -> str:
    """Return how many went from the segment of a row to that of a column, by id."""
    return heat(
        label,
        "Changes from the segment of a row to that of a column; the darker, the larger a share of"
        " the row.",
        ("From", *names.values()),
        [
            (
                names[before],
                [
                    (
                        "" if before == after else f"{counts[before][after]:,}",
                        counts[before][after] / max(sum(counts[before].values()), 1),
                    )
                    for after in names
                ],
            )
            for before in names
        ],
    )


def scrolled(
    label: str,
    caption: str,
    head: Sequence[str],
    body: str,
    kind: str = "",
    text: Container[int] = (),
) -> str:
    """Return a table that scrolls sideways where it is too wide, below what it is about."""
    heads = "".join(
        f'<th scope="col"{_class("text" if i in text else "")}>{escape(name)}</th>'
        for i, name in enumerate(head)
    )
    return (
        f'<p class="dim">{escape(caption)}</p><div class="scroll" tabindex="0" role="region"'
        f' aria-label="{escape(label)}"><table{_class(kind)}><caption>{escape(label)}</caption>'
        f"<thead><tr>{heads}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def spread(n: int) -> list[int]:
    """Return up to 13 places from first to last, for a table of what a plot shows over time."""
    most = _ROWS_OVER_TIME - 1
    return sorted({round(i * (n - 1) / most) for i in range(most + 1)}) if n else []


def _cell(text: str) -> str:
    """Return a cell; what stands on lines below the first explains it."""
    first, *others = text.split("\n")
    return escape(first) + "".join(f"<small>{escape(other)}</small>" for other in others)


def _class(kind: str) -> str:
    return f' class="{kind}"' if kind else ""
