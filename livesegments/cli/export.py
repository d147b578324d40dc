"""``livesegments export``: write every customer to a file."""

from pathlib import Path
from typing import Annotated

import typer

from livesegments.cli.console import WRONG, clear_errors, fail, read_settings
from livesegments.operations.atomic_file import unwritable


def export(
    ctx: typer.Context,
    file: Annotated[Path, typer.Argument(help="Ends in .csv, .jsonl or .parquet.")],
) -> None:
    """Write one row per customer: current segment, window and profile.

    Example: livesegments export segments.parquet
    """
    settings = read_settings(ctx)
    if file.suffix not in (".csv", ".jsonl", ".parquet"):
        fail(f"{file}: the name must end in .csv, .jsonl or .parquet", WRONG)
    if why := unwritable(file):
        fail(why, WRONG)
    with clear_errors(settings, kafka=False):
        from livesegments.config.clients import redis_client
        from livesegments.operations.export import export as write
        from livesegments.rendering.progress import counting
        from livesegments.store.partitions import Partitions

        with counting("exporting") as show:
            rows = write(Partitions(redis_client(settings), settings.group_id), file, show)
        typer.echo(f"wrote {rows} customers to {file}")
