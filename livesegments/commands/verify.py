"""``livesegments verify``: hold store and topics against the input."""

import json
from typing import Annotated

import typer

from livesegments.console import FAILED, clear_errors, read_settings


def verify(
    ctx: typer.Context,
    as_json: Annotated[bool, typer.Option("--json", help="For scripts.")] = False,
) -> None:
    """Recompute everything from Kafka and hold the store and the topics against it.

    Reads the input topics whole, so it takes a while; it is meant for a quiet moment. Exit 1 on any
    fault. Example: livesegments verify --json
    """
    settings = read_settings(ctx)
    with clear_errors(settings):
        from livesegments.clients import kafka_config, redis_client
        from livesegments.verify import verify as check

        report = check(
            redis_client(settings),
            kafka_config(settings),
            settings.group_id,
            lambda what: typer.echo(what, err=True),
            settings.days_kept,
        )
        lines = [json.dumps(report.to_dict(), indent=2)] if as_json else report.lines()
        typer.echo("\n".join(lines))
        if report.faults:
            raise typer.Exit(FAILED)
