"""``livesegments sources``: queries to start from."""

from typing import Annotated

import typer

from livesegments.cli.console import WRONG, Commands, Json, fail, print_json

app = typer.Typer(
    cls=Commands,
    help="Queries to start from, for the shapes of widely used software and data sets.",
    no_args_is_help=True,
)


@app.command("list")
def list_(as_json: Json = False) -> None:
    """List the presets: input, output and title of each.

    Example: livesegments sources list
    """
    from livesegments.ingest.presets import presets

    found = presets().values()
    if as_json:
        names = ("name", "reads", "into", "title")
        about = [{name: getattr(each, name) for name in names} for each in found]
        print_json(about)
        return
    for each in found:
        typer.echo(f"{each.name:<20}{each.reads:<7}{each.into:<11}{each.title}")


@app.command()
def show(
    name: Annotated[str, typer.Argument(help="Name of a preset: `livesegments sources list`.")],
) -> None:
    """Print the query of a preset, and how to use it.

    Example: livesegments sources show shopify-orders > shopify-orders.sql
    """
    from livesegments.ingest.presets import presets

    found = presets()
    if name not in found:
        fail(f"no preset {name!r}; there are {', '.join(found)}", WRONG)
    typer.echo(found[name].text(), nl=False)
