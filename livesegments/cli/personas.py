"""``livesegments personas``: show the segments."""

import json
from typing import Annotated

import typer

from livesegments.cli.console import WRONG, Json, fail, read_settings


def personas(
    ctx: typer.Context,
    as_json: Json = False,
    template: Annotated[
        bool, typer.Option("--template", help="Print them as a TOML file to edit.")
    ] = False,
) -> None:
    """Show the five segments and the expected position of each.

    To define your own, run livesegments personas --template > mine.toml, edit the file, and set
    LIVESEGMENTS_PERSONAS_FILE=mine.toml for every worker and command.
    """
    if as_json and template:
        fail("--json and --template exclude each other", WRONG)
    five = read_settings(ctx).personas
    from livesegments.config.personas import to_dict, to_table, to_toml

    if template:
        typer.echo(to_toml(five), nl=False)
    elif as_json:
        typer.echo(json.dumps([to_dict(persona) for persona in five], indent=2))
    else:
        typer.echo("\n".join(to_table(five)))
