"""``livesegments run``: run a worker."""

from typing import Annotated

import typer

from livesegments.cli.console import clear_errors, read_settings


def run(
    ctx: typer.Context,
    accept_loss: Annotated[
        bool,
        typer.Option(
            "--accept-loss",
            help="Start even if the input topics no longer contain all data that counts: with the"
            " store as it is or, if the store is lost, with incomplete windows.",
        ),
    ] = False,
) -> None:
    """Run a worker until SIGTERM or Ctrl-C; run up to one per partition.

    Example: LIVESEGMENTS_KAFKA_BOOTSTRAP_SERVERS=kafka:9092 livesegments run
    """
    settings = read_settings(ctx)
    with clear_errors(settings):
        from livesegments import app

        app.run(settings, accept_loss=accept_loss)
