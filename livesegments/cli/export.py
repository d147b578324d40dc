"""``livesegments export``: write every customer to a file."""

import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from livesegments.cli.console import WRONG, clear_errors, fail, read_settings
from livesegments.operations.atomic_file import unwritable


class Format(StrEnum):
    """Format of the rows."""

    CSV = "csv"
    JSONL = "jsonl"
    PARQUET = "parquet"


def export(
    ctx: typer.Context,
    file: Annotated[
        Path, typer.Argument(help="Ends in .csv, .jsonl or .parquet; - is standard output.")
    ],
    kind: Annotated[
        Format | None, typer.Option("--format", help="Format of standard output; unset: csv.")
    ] = None,
) -> None:
    """Write one row per customer: current segment, window and profile.

    Example: livesegments export segments.parquet
    """
    settings = read_settings(ctx)
    to_stdout = str(file) == "-"
    if to_stdout:
        if kind == Format.PARQUET and sys.stdout.isatty():
            fail("Parquet is binary: redirect standard output to a file", WRONG)
    elif file.suffix.removeprefix(".") not in list(Format):
        fail(f"{file}: the name must end in .csv, .jsonl or .parquet", WRONG)
    elif kind and file.suffix != f".{kind}":
        fail(f"--format {kind} is for standard output: {file} is named {file.suffix}", WRONG)
    elif why := unwritable(file):
        fail(why, WRONG)
    with clear_errors(settings, kafka=False):
        from livesegments.config.clients import open_store
        from livesegments.operations.export import export as write
        from livesegments.operations.export import write_rows
        from livesegments.rendering.progress import counting

        store = open_store(settings)
        with counting("exporting") as show:
            if to_stdout:
                rows = write_rows(store, sys.stdout.buffer, kind or Format.CSV, show)
                sys.stdout.buffer.flush()
            else:
                rows = write(store, file, show)
        typer.echo(f"wrote {rows} customers to {file}", err=to_stdout)
