"""The command line: one module per command, with imports deferred until the command runs."""

import logging
import os
from pathlib import Path
from typing import Annotated

import typer

from livesegments import __version__
from livesegments.cli import (
    backtest,
    customer,
    dead_letters,
    demo,
    doctor,
    export,
    ingest,
    rebuild,
    refit,
    replay,
    report,
    run,
    segmentation,
    serve,
    settings,
    sources,
    subscribe,
    topics,
    verify,
    watch,
)
from livesegments.cli.console import Commands

app = typer.Typer(
    cls=Commands,
    help="Keeps every customer in the right marketing segment, seconds after the purchase that"
    " moved them. Settings are environment variables LIVESEGMENTS_*: `livesegments settings`"
    " lists them.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.add_typer(topics.app, name="topics")
app.add_typer(dead_letters.app, name="dead-letters")
app.add_typer(sources.app, name="sources")
for command in (
    run.run,
    ingest.ingest,
    replay.replay,
    backtest.backtest,
    subscribe.subscribe,
    watch.watch,
    export.export,
    report.report,
    customer.customer,
    serve.serve,
    refit.refit,
    doctor.doctor,
    verify.verify,
    rebuild.rebuild,
    demo.demo,
    settings.settings,
    segmentation.segmentation,
):
    app.command()(command)


def main() -> None:
    """Run the command line."""
    app()


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(__version__)
        raise typer.Exit


@app.callback()
def _options(
    ctx: typer.Context,
    env_file: Annotated[  # noqa: ARG001 - read by console.env_file
        Path | None,
        typer.Option(
            help="File of lines LIVESEGMENTS_NAME=value; the environment takes precedence."
        ),
    ] = None,
    show_version: Annotated[  # noqa: ARG001 - handled by its callback
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    if os.environ.get("NO_COLOR"):
        ctx.color = False
    # kafka-python logs errors that it is about to retry; its exceptions carry all that matters.
    logging.getLogger("kafka").setLevel(logging.CRITICAL)


@app.command()
def version() -> None:
    """Show the version."""
    typer.echo(__version__)


if __name__ == "__main__":
    main()
