"""``livesegments rebuild``: rebuild the store."""

import json
import sys
from typing import Annotated

import typer

from livesegments.cli.console import WRONG, clear_errors, fail, read_settings


def rebuild(
    ctx: typer.Context,
    accept_loss: Annotated[
        bool,
        typer.Option(
            "--accept-loss",
            help="Also when the purchases topic no longer holds a whole window.",
        ),
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="For scripts.")] = False,
) -> None:
    """Empty the store and rebuild it from Kafka, after a change of settings or to repair it.

    Published segments do not change. Running workers rebuild it, or this command if none runs.
    Example: livesegments rebuild --yes
    """
    settings = read_settings(ctx)
    if not yes and not sys.stdin.isatty():
        fail("it empties the store: say --yes", WRONG)
    with clear_errors(settings):
        from dataclasses import asdict

        from livesegments.operations import rebuild as rebuilding
        from livesegments.rendering.progress import counting

        planned = rebuilding.plan(settings, accept_loss=accept_loss)
        who = f"{planned.workers} running workers" if planned.workers else "this command"
        typer.echo(
            f"empties {planned.customers} customers of group {settings.group_id!r} in Redis;"
            f" {who} will make them anew",
            err=True,
        )
        if not yes and not typer.confirm("go on?", err=True):
            fail("nothing was touched")
        with counting("folding") as show:
            done = rebuilding.rebuild(settings, planned, accept_loss=accept_loss, progress=show)
        typer.echo(
            json.dumps(asdict(done), indent=2)
            if as_json
            else f"rebuilt {done.customers} customers in {done.partitions} partitions in"
            f" {done.seconds:.1f} s"
        )
        if not done.complete:
            fail("it was stopped before the end; the next worker goes on")
