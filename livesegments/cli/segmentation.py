"""``livesegments segmentation``: show a segmentation."""

from typing import Annotated

import typer

from livesegments.cli.console import WRONG, Json, fail, print_json, read_settings


def segmentation(
    ctx: typer.Context,
    name: Annotated[
        str | None,
        typer.Argument(help="A built-in one or a TOML file; without it, that of the settings."),
    ] = None,
    as_json: Json = False,
    template: Annotated[
        bool, typer.Option("--template", help="Print its TOML file, to edit a copy.")
    ] = False,
) -> None:
    """Show a segmentation: its features, and the segments with their expected positions.

    To define your own, edit a template, and set for every worker and command
    LIVESEGMENTS_SEGMENTATION=mine.toml.

    Example: livesegments segmentation --template > mine.toml
    """
    if as_json and template:
        fail("--json and --template exclude each other", WRONG)
    chosen = name or read_settings(ctx).segmentation
    from livesegments.config.segmentation import load, text_of, to_dict, to_table

    try:
        found = load(chosen)
    except ValueError as error:
        fail(str(error), WRONG)
    if template:
        typer.echo(text_of(chosen), nl=False)
    elif as_json:
        print_json(to_dict(found))
    else:
        typer.echo("\n".join(to_table(found)))
