"""``livesegments verify``: compare the store and the topics with the input."""

import json

import typer

from livesegments.cli.console import FAILED, Json, clear_errors, read_settings


def verify(ctx: typer.Context, as_json: Json = False) -> None:
    """Recompute everything from Kafka and compare it with the store and the output topics.

    Reads the input topics completely, so it takes a while; workers may keep
    running. Exits with 1 on any fault.

    Example: livesegments verify --json
    """
    settings = read_settings(ctx)
    with clear_errors(settings):
        from livesegments.config.clients import kafka_config, redis_client
        from livesegments.operations.verify import verify as check
        from livesegments.rendering.formats import printable

        report = check(
            redis_client(settings),
            kafka_config(settings),
            settings.group_id,
            lambda what: typer.echo(what, err=True),
            settings.days_kept,
            event_clock=settings.clock == "event",
        )
        if as_json:
            typer.echo(json.dumps(report.to_dict(), indent=2))
        else:
            typer.echo("\n".join(map(printable, report.lines())))
        if report.faults:
            raise typer.Exit(FAILED)
