"""``livesegments replay``: send purchases from a file."""

from pathlib import Path
from typing import Annotated

import typer

from livesegments.cli.console import (
    INTERRUPTED,
    WRONG,
    Timezone,
    clear_errors,
    ending_in_order,
    fail,
    read_settings,
)
from livesegments.cli.query_options import (
    Delimiter,
    Encoding,
    ProfilesQuery,
    Query,
    Tables,
    file_query,
)


def replay(
    ctx: typer.Context,
    purchases: Annotated[Path, typer.Argument(help="CSV, JSON Lines or Parquet, also gzipped.")],
    profiles: Annotated[
        Path | None,
        typer.Option(help="Customer profiles, sent first."),
    ] = None,
    speed: Annotated[
        float | None,
        typer.Option(min=0, help="Multiple of real time, such as 3600; unset: full speed."),
    ] = None,
    on_error: Annotated[
        str, typer.Option(help="Invalid rows: stop, or skip and report them at the end.")
    ] = "stop",
    timezone: Timezone = None,
    query: Query = None,
    profiles_query: ProfilesQuery = None,
    table: Tables = None,
    delimiter: Delimiter = "",
    encoding: Encoding = "",
    backfill: Annotated[
        bool,
        typer.Option("--backfill", help="Mark the resulting changes with origin: backfill."),
    ] = False,
) -> None:
    """Send purchases from a file to their topic, at full speed or at a given pace.

    Example: livesegments replay purchases.csv --profiles profiles.csv --speed 3600
    """
    if on_error not in ("stop", "skip"):
        fail(f"--on-error is {on_error!r}; it can be stop or skip", WRONG)
    if speed is not None and not 0 < speed < float("inf"):
        fail(f"--speed must be above 0, not {speed}", WRONG)
    settings = read_settings(ctx)
    for file in filter(None, (purchases, profiles)):
        if not file.is_file():
            fail(f"{file}: no such file")
    with clear_errors(settings):
        from livesegments.config.clients import kafka_config
        from livesegments.operations.event_ids import ADVICE, EventIdCheck
        from livesegments.producers.replay import replay as send
        from livesegments.rendering.progress import counting

        ids = EventIdCheck(settings.currency)
        with counting("sending") as show, ending_in_order() as asked:
            done = send(
                purchases,
                client=kafka_config(settings),
                currency=settings.currency,
                partitioner=settings.partitioner,
                profiles_file=profiles,
                speed=speed,
                on_error="skip" if on_error == "skip" else "stop",
                timezone=timezone,
                query=file_query(query, table, delimiter, encoding),
                profiles_query=file_query(profiles_query, table, delimiter, encoding),
                backfill=backfill,
                watch=ids.add,
                progress=show,
                stop=asked,
            )
        for row in done.broken_rows:
            typer.echo(f"skipped {row}", err=True)
        if done.skipped > len(done.broken_rows):
            typer.echo(f"skipped {done.skipped - len(done.broken_rows)} more rows", err=True)
        how = "interrupted: " if done.stopped else ""
        typer.echo(
            f"{how}sent {done.purchases} purchases and {done.profiles} profiles in"
            f" {done.seconds:.1f} s ({done.sent / max(done.seconds, 1e-9):,.0f}/s), skipped"
            f" {done.skipped} rows"
        )
        if ids.conflicts:
            typer.echo(
                f"{ids.conflicts} purchases have the event_id of an earlier one of the file and"
                f" other content (as {', '.join(map(repr, ids.examples))}), and count: {ADVICE}",
                err=True,
            )
        if done.stopped:
            typer.echo(
                "to continue, send the file again: repeated purchases count once (DEDUP_EVENTS)",
                err=True,
            )
            raise typer.Exit(INTERRUPTED)
