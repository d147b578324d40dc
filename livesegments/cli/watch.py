"""``livesegments watch``: live view of a running deployment."""

from typing import Annotated

import typer

from livesegments.cli.console import clear_errors, read_settings


def watch(
    ctx: typer.Context,
    plain: Annotated[
        bool, typer.Option("--plain", help="One line per update, as without a terminal.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object per line.")] = False,
    interval: Annotated[
        float | None,
        typer.Option(min=0.1, help="Seconds between updates (unset: 0.5, or 2 for lines)."),
    ] = None,
    limit: Annotated[
        int | None, typer.Option(min=1, help="Exit after this number of lines.")
    ] = None,
) -> None:
    """Show segments, moving customers, lag and drift of the running service, until Ctrl-C.

    Read-only: it joins no consumer group, reports outages and retries.

    Example: livesegments watch --json --limit 1
    """
    settings = read_settings(ctx)
    with clear_errors(settings):
        from rich.console import Console

        from livesegments.analysis.watch.session import draw, write_lines

        console = Console()
        lines = plain or as_json or limit is not None
        if lines or not console.is_terminal or console.is_dumb_terminal:
            write_lines(
                settings, typer.echo, interval=interval or 2.0, as_json=as_json, limit=limit
            )
        else:
            draw(settings, console, interval or 0.5)
