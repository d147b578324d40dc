"""``livesegments replay``: send purchases from a file."""

import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from livesegments.cli import query_options as files
from livesegments.cli.console import (
    INTERRUPTED,
    WRONG,
    Timezone,
    clear_errors,
    ending_in_order,
    fail,
    read_settings,
)

if TYPE_CHECKING:
    from livesegments.config.settings import Settings
    from livesegments.operations.event_ids import EventIdCheck
    from livesegments.producers.replay import ReplayReport

_REPORTED_ROWS = 10


def replay(
    ctx: typer.Context,
    purchases: Annotated[
        Path, typer.Argument(help="CSV, JSON, Parquet or Excel; also .gz or .zst.")
    ],
    profiles: Annotated[Path | None, typer.Option(help="Customer profiles, sent first.")] = None,
    speed: Annotated[
        float | None,
        typer.Option(min=0, help="Multiple of real time, such as 3600; unset: full speed."),
    ] = None,
    speed_from: Annotated[
        datetime | None,
        typer.Option(
            metavar="TIME",
            formats=["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S"],
            help="Time from which --speed holds, in the file's time zone; earlier rows are sent at"
            " full speed.",
        ),
    ] = None,
    on_error: Annotated[
        str, typer.Option(help="Invalid rows: stop, or skip and report them at the end.")
    ] = "stop",
    timezone: Timezone = None,
    query: files.Query = None,
    profiles_query: files.ProfilesQuery = None,
    table: files.Tables = None,
    delimiter: files.Delimiter = "",
    encoding: files.Encoding = "",
    decimal: files.Decimal = ".",
    date_format: files.DateFormat = "",
    backfill: Annotated[
        bool, typer.Option("--backfill", help="Mark the resulting changes with origin: backfill.")
    ] = False,
) -> None:
    """Send purchases from a file to their topic, at full speed or at a given pace.

    Example: livesegments replay purchases.csv --profiles people.csv --speed 60
    """
    if on_error not in ("stop", "skip"):
        fail(f"--on-error is {on_error!r}; it can be stop or skip", WRONG)
    if speed is not None and not 0 < speed < float("inf"):
        fail(f"--speed must be above 0, not {speed}", WRONG)
    settings = read_settings(ctx)
    for file in filter(None, (purchases, profiles)):
        if not file.exists():
            fail(f"{file}: no such file")
    with clear_errors(settings):
        from functools import partial

        from livesegments.config.clients import kafka_config
        from livesegments.contracts.timestamps import zone_named
        from livesegments.operations.event_ids import EventIdCheck
        from livesegments.producers.replay import replay as send
        from livesegments.rendering.progress import counting

        dialect = (table, delimiter, encoding, decimal, date_format)
        options = files.file_options(query, *dialect)
        profiles_options = files.file_options(profiles_query, *dialect)
        from livesegments.ingest.files import BrokenRowError, read_events

        zone, skipped = zone_named(timezone), 0

        def skip(row: BrokenRowError) -> None:
            nonlocal skipped
            skipped += 1
            if skipped <= _REPORTED_ROWS:
                typer.echo(f"skipped {row}", err=True)

        read = partial(
            read_events,
            currency=settings.currency,
            timezone=zone,
            on_broken=skip if on_error == "skip" else None,
        )
        ids = EventIdCheck(settings.currency)
        with counting("sending") as show, ending_in_order() as asked:
            done = send(
                read(purchases, "purchases", options),
                None if profiles is None else read(profiles, "profiles", profiles_options),
                client=kafka_config(settings),
                partitioner=settings.partitioner,
                speed=speed,
                speed_from=speed_from and speed_from.replace(tzinfo=zone or UTC),
                backfill=backfill,
                watch=ids.add,
                progress=show,
                stop=asked,
            )
        if skipped > _REPORTED_ROWS:
            typer.echo(f"skipped {skipped - _REPORTED_ROWS} more rows", err=True)
        how = "interrupted: " if done.stopped else ""
        typer.echo(
            f"{how}sent {done.purchases} purchases and {done.profiles} profiles in"
            f" {done.seconds:.1f} s ({done.sent / max(done.seconds, 1e-9):,.0f}/s), skipped"
            f" {skipped} rows"
        )
        for note in notes(done, ids, settings):
            typer.echo(note, err=True)
        if done.stopped:
            typer.echo(
                "to continue, send the file again: repeated purchases count once (DEDUP_EVENTS)",
                err=True,
            )
            raise typer.Exit(INTERRUPTED)


def notes(done: "ReplayReport", ids: "EventIdCheck", settings: "Settings") -> Iterator[str]:
    """Yield faults of the purchases that were sent: refusals to come, event ids, or age."""
    from livesegments.operations.event_ids import ADVICE, SHOWN

    for why, count in ids.refused.most_common(SHOWN):
        yield f"{count} purchases become dead letters: {why}"
    if ids.conflicts:
        yield (
            f"{ids.conflicts} purchases have the event_id of an earlier one of the file and other"
            f" content (as {', '.join(map(repr, ids.examples))}), and count: {ADVICE}"
        )
    oldest_us = (time.time() - settings.window_days * 86_400) * 1e6
    if settings.clock == "wall" and done.purchases and done.newest_us < oldest_us:
        yield (
            f"all purchases are older than the window of {settings.window_days} days that ends now"
            " (LIVESEGMENTS_CLOCK=wall), so none of them counts: for history, set"
            " LIVESEGMENTS_CLOCK=event for workers and commands"
        )
