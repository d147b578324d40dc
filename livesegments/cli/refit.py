"""``livesegments refit``: refit the model manually."""

import json
from typing import Annotated

import typer

from livesegments.cli.console import clear_errors, read_settings


def refit(
    ctx: typer.Context,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only show what would change.")
    ] = False,
    everyone: Annotated[
        bool,
        typer.Option(
            "--all", help="Fit all customers, not a sample of 3,000: exact, and slow with millions."
        ),
    ] = False,
    no_wait: Annotated[
        bool, typer.Option("--no-wait", help="Leave the request and do not see it through.")
    ] = False,
    timeout: Annotated[
        float,
        typer.Option(min=1, help="Seconds for a worker to take the fit, or for anything to move."),
    ] = 60.0,
    as_json: Annotated[bool, typer.Option("--json", help="For scripts.")] = False,
) -> None:
    """Refit the model and show which customers would move; the running service then adopts it.

    Exits with 1 if there is no model yet, or no worker takes the fit. Example: livesegments refit
    --dry-run
    """
    settings = read_settings(ctx)
    with clear_errors(settings):
        from livesegments.operations.refit import Refit
        from livesegments.rendering.progress import counting

        work = Refit(settings, lambda line: typer.echo(line, err=True))
        proposal = work.propose(everyone=everyone)
        found = proposal.found
        if not as_json:
            typer.echo("\n".join(proposal.lines()))
        if not dry_run and proposal.gain <= 0:
            typer.echo("nothing better was found: the model stays as it is", err=True)
        elif not dry_run:
            request = work.request(proposal, timeout)
            typer.echo("asked the owner of partition 0 to take it", err=True)
            if not no_wait:
                found["generation"] = number = work.wait_for_generation(request, timeout).number
                typer.echo(f"generation {number} is published", err=True)
                with counting("customers taken over") as show:
                    work.wait_for_takeover(number, timeout, show)
        if as_json:
            typer.echo(json.dumps(found, indent=2))
