"""Options of commands that read files of any shape by a query."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from livesegments.cli.console import WRONG, fail

if TYPE_CHECKING:
    from livesegments.ingest.files import FileQuery

Query = Annotated[
    Path | None,
    typer.Option(help="A file with SQL that makes purchases of a file of any shape."),
]
ProfilesQuery = Annotated[
    Path | None,
    typer.Option(help="A file with SQL that makes profiles of a file of any shape."),
]
Tables = Annotated[
    list[str] | None,
    typer.Option("--table", help="NAME=FILE that a query joins; may be given several times."),
]
Delimiter = Annotated[
    str, typer.Option(help="With --query, of a CSV file; `none` for whole lines of text.")
]
Encoding = Annotated[str, typer.Option(help="With --query, of a CSV file, such as latin-1.")]


def file_query(
    sql: Path | None, tables: Sequence[str] | None, delimiter: str, encoding: str
) -> "FileQuery | None":
    """Return the query of these options, None without one; a wrong one ends the command."""
    if sql is None:
        return None
    from livesegments.extras import MissingExtraError, require

    try:
        require("files", "--query", "duckdb")
        from livesegments.ingest.files import FileQuery

        text = sql.read_text("utf-8")
    except MissingExtraError as error:
        fail(str(error))
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        fail(f"--query {sql}: {why}", WRONG)
    files: dict[str, Path] = {}
    for each in tables or ():
        name, equals, file = each.partition("=")
        if not equals or not name.isidentifier() or name == "source":
            fail(f"--table is {each!r}; it must be NAME=FILE, such as rates=rates.csv", WRONG)
        files[name] = Path(file)
    return FileQuery(text, files, delimiter, encoding)
