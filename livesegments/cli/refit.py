"""``livesegments refit``: refit the model manually."""

from typing import Annotated

import typer

from livesegments.cli.console import Json, clear_errors, print_json, read_settings


def refit(
    ctx: typer.Context,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only show what would change.")
    ] = False,
    everyone: Annotated[
        bool,
        typer.Option(
            "--all", help="Fit all customers, not a sample: exact, and slow with millions."
        ),
    ] = False,
    no_wait: Annotated[
        bool, typer.Option("--no-wait", help="Submit the request and exit.")
    ] = False,
    timeout: Annotated[
        float, typer.Option(min=1, help="Seconds to wait for a worker, and for progress.")
    ] = 60.0,
    as_json: Json = False,
) -> None:
    """Refit the model and show which customers would move; the running service then adopts it.

    Exits with 1 if there is no model yet, or no worker adopts the fit.

    Example: livesegments refit --dry-run
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
            typer.echo("no better fit was found: the model is unchanged", err=True)
        elif not dry_run:
            request = work.request(proposal, timeout)
            typer.echo("submitted to the owner of partition 0", err=True)
            if not no_wait:
                found["generation"] = number = work.wait_for_generation(request, timeout).number
                typer.echo(f"generation {number} is published", err=True)
                with counting("customers scored") as show:
                    work.wait_for_takeover(number, timeout, show)
        if as_json:
            print_json(found)
