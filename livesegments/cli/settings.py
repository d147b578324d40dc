"""``livesegments settings``: list the settings."""

import typer

from livesegments.cli.console import Json, print_json, read_settings


def settings(ctx: typer.Context, as_json: Json = False) -> None:
    """List every setting: its value, a default that differs, and its description.

    Example: livesegments settings --json
    """
    from livesegments.config.settings import describe

    listed = describe(read_settings(ctx))
    if as_json:
        print_json(listed)
    for each in [] if as_json else listed:
        changed = "" if each["value"] == each["default"] else f"  (default {each['default']})"
        typer.echo(f"{each['name']}={each['value']}{changed}")
        typer.echo(f"    {each['description']}")
