"""``livesegments rebuild``: rebuild the store."""

import sys
from typing import Annotated

import typer

from livesegments.cli.console import WRONG, Json, clear_errors, fail, print_json, read_settings


def rebuild(
    ctx: typer.Context,
    accept_loss: Annotated[
        bool,
        typer.Option(
            "--accept-loss",
            help="Rebuild even if the purchases topic no longer contains a whole window.",
        ),
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask for confirmation.")] = False,
    as_json: Json = False,
) -> None:
    """Empty the store and rebuild it from Kafka, after a change of settings or to repair it.

    Published segments do not change. Running workers rebuild it, or this command
    if none runs.

    Example: livesegments rebuild --yes
    """
    settings = read_settings(ctx)
    if not yes and not sys.stdin.isatty():
        fail("this empties the store; confirm with --yes", WRONG)
    with clear_errors(settings):
        from dataclasses import asdict

        from livesegments.operations import rebuild as rebuilding
        from livesegments.rendering.progress import counting

        planned = rebuilding.plan(settings, accept_loss=accept_loss)
        who = f"{planned.workers} running workers" if planned.workers else "this command"
        typer.echo(
            f"deletes {planned.customers} customers of group {settings.group_id!r} from Redis;"
            f" {who} will rebuild them",
            err=True,
        )
        for name, (before, after) in planned.changed.items():
            typer.echo(f"changes {name} from {before} to {after}", err=True)
        if not yes and not typer.confirm("continue?", err=True):
            fail("cancelled: nothing was changed")
        with counting("rebuilding") as show:
            done = rebuilding.rebuild(settings, planned, accept_loss=accept_loss, progress=show)
        if as_json:
            print_json(asdict(done))
        else:
            typer.echo(
                f"rebuilt {done.customers} customers in {done.partitions} partitions in"
                f" {done.seconds:.1f} s"
            )
        if not done.complete:
            fail("stopped before the end; the next worker continues")
