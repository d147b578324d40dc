"""``livesegments doctor``: check a deployment and its dependencies."""

import typer

from livesegments.cli.console import FAILED, Json, print_json, read_settings


def doctor(ctx: typer.Context, as_json: Json = False) -> None:
    """Check broker, store, topics and progress, and show how to fix each problem.

    Exits with 1 if something must be fixed.

    Example: livesegments doctor
    """
    settings = read_settings(ctx)
    from dataclasses import asdict

    from livesegments.operations.doctor import examine

    findings = examine(settings)
    if as_json:
        print_json([asdict(finding) for finding in findings])
    for finding in [] if as_json else findings:
        colour = {"ok": typer.colors.GREEN, "warn": typer.colors.YELLOW}.get(
            finding.status, typer.colors.RED
        )
        typer.secho(f"{finding.status:>5}", fg=colour, nl=False)
        typer.echo(f"  {finding.name}: {finding.detail}")
        if finding.fix and finding.status != "ok":
            typer.echo(f"       -> {finding.fix}")
    if any(finding.status == "fail" for finding in findings):
        raise typer.Exit(FAILED)
