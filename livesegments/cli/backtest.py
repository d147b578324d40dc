"""``livesegments backtest``: try settings on historical purchases."""

import json
import time
from pathlib import Path
from typing import Annotated

import typer

from livesegments.cli import query_options as files
from livesegments.cli.console import (
    FAILED,
    WRONG,
    Json,
    Timezone,
    clear_errors,
    env_file,
    fail,
    read_settings,
)
from livesegments.operations.atomic_file import replacing, unwritable


def backtest(
    ctx: typer.Context,
    history: Annotated[
        Path, typer.Argument(help="Purchases: CSV, JSON, Parquet or Excel; also .gz or .zst.")
    ],
    profiles: Annotated[Path | None, typer.Option(help="Customer profiles.")] = None,
    compare: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=VALUE,VALUE",
            help="Run several values of a setting side by side: margin, dwell, window, tiles,"
            " warmup, gain, segmentation (names or files) or k (numbers of clusters); given again,"
            " all combinations.",
        ),
    ] = None,
    html: Annotated[
        Path | None, typer.Option(help="Also write a page with plots to this file.")
    ] = None,
    as_json: Json = False,
    timezone: Timezone = None,
    query: files.Query = None,
    profiles_query: files.ProfilesQuery = None,
    table: files.Tables = None,
    delimiter: files.Delimiter = "",
    encoding: files.Encoding = "",
    decimal: files.Decimal = ".",
    date_format: files.DateFormat = "",
) -> None:
    """Try settings on historical purchases, without servers: sizes, changes, quality, name drift.

    Example: livesegments backtest purchases.csv --compare margin=0,0.15,0.3
    """
    from functools import partial

    from livesegments.config.settings import load

    settings = read_settings(ctx)
    if html is not None and (why := unwritable(html)):
        fail(why, WRONG)
    with clear_errors(settings, kafka=False):
        dialect = (table, delimiter, encoding, decimal, date_format)
        options = files.file_options(query, *dialect)
        profiles_options = files.file_options(profiles_query, *dialect)
        from livesegments.analysis.backtest.runner import backtest as run_history
        from livesegments.analysis.backtest.runner import shown
        from livesegments.analysis.backtest.variants import variants
        from livesegments.analysis.backtest.views import page, text
        from livesegments.rendering.progress import counting

        try:
            tried = variants(settings, compare or [], partial(load, env_file(ctx)))
        except ValueError as error:
            fail(str(error), WRONG)
        with counting("reading") as show:
            now_ms = time.time_ns() // 1_000_000
            found = run_history(
                history,
                profiles,
                tried,
                timezone=timezone,
                options=options,
                profiles_options=profiles_options,
                now_ms=now_ms,
                progress=show,
            )
        typer.echo(json.dumps(found) if as_json else text(found))
        if html is not None:
            with replacing(html) as unfinished:
                unfinished.write_text(page(found), "utf-8")
            typer.echo(f"wrote {html}", err=True)
        if not shown(found)["segments"]:
            raise typer.Exit(FAILED)
