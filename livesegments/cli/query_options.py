"""Options of commands that read files: of any shape by a query, and of any dialect."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from livesegments.cli.console import WRONG, fail

if TYPE_CHECKING:
    from livesegments.ingest.file_formats import FileOptions

Query = Annotated[
    Path | None, typer.Option(help="A file with SQL that makes purchases of a file of any shape.")
]
ProfilesQuery = Annotated[
    Path | None, typer.Option(help="A file with SQL that makes profiles of a file of any shape.")
]
Tables = Annotated[
    list[str] | None,
    typer.Option(
        "--table",
        metavar="NAME=FILE",
        help="Another file that a query joins; may be given several times.",
    ),
]
Delimiter = Annotated[
    str,
    typer.Option(help="Of a text file; unset: detected in its first line; `none`: whole lines."),
]
Encoding = Annotated[
    str,
    typer.Option(
        help="Of a text file, such as cp1252 or latin-1; unset: utf-8, or utf-16 by its mark."
    ),
]
Decimal = Annotated[str, typer.Option(help="Decimal separator, without --query: . or ,")]
DateFormat = Annotated[
    str, typer.Option(help="Format of times, without --query, such as '%d/%m/%Y %H:%M'.")
]


def file_options(
    sql: Path | None,
    tables: Sequence[str] | None,
    delimiter: str,
    encoding: str,
    decimal: str,
    date_format: str,
) -> "FileOptions":
    """Return how to read files; a wrong option, or a missing extra, ends the command."""
    from livesegments.extras import MissingExtraError, require

    try:
        require("files", "reading files", "duckdb")
    except MissingExtraError as error:
        fail(str(error))
    from livesegments.ingest.file_formats import FileOptions

    if decimal not in (".", ","):
        fail(f"--decimal is {decimal!r}; it can be . or ,", WRONG)
    if len(delimiter) > 1 and delimiter != "none":
        fail(f"--delimiter is {delimiter!r}; it must be one character, or none", WRONG)
    files: dict[str, Path] = {}
    for each in tables or ():
        name, equals, file = each.partition("=")
        if not equals or not name.isidentifier() or name == "source":
            fail(f"--table is {each!r}; it must be NAME=FILE, such as rates=rates.csv", WRONG)
        files[name] = Path(file)
    text = ""
    if sql is not None:
        try:
            text = sql.read_text("utf-8")
        except (OSError, UnicodeDecodeError) as error:
            why = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
            fail(f"--query {sql}: {why}", WRONG)
    return FileOptions(text, files, delimiter, encoding, decimal, date_format)
