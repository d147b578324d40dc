"""``livesegments demo``: watch it work."""

from typing import Annotated

import typer


def demo(
    plain: Annotated[
        bool, typer.Option("--plain", help="Lines instead of a live view, as without a terminal.")
    ] = False,
) -> None:
    """Watch 2,469 real households being segmented, on servers that it starts itself.

    Example: livesegments demo
    """
    from livesegments.demo import run_demo

    raise typer.Exit(run_demo(plain=plain))
