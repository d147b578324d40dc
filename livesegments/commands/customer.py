"""``livesegments customer``: ask about one customer."""

import json
from typing import Annotated

import typer

from livesegments.console import WRONG, clear_errors, fail, read_settings


def customer(
    ctx: typer.Context,
    customer_id: Annotated[
        str,
        typer.Argument(
            metavar="ID", help="As in the events. After -- where it begins with a dash."
        ),
    ],
    newest: Annotated[
        int, typer.Option("--history", min=0, max=1_000, help="Tell the newest changes, so many.")
    ] = 10,
    searched: Annotated[
        int,
        typer.Option(
            "--search",
            min=1,
            help="Look for them in the newest so many changes of the customer's partition.",
        ),
    ] = 1_000_000,
    as_json: Annotated[bool, typer.Option("--json", help="For scripts.")] = False,
) -> None:
    """Tell where a customer is, why, since when, and what would move them; exit 1 if not known.

    Of who was erased it tells that and nothing else. Example: livesegments customer 42 --history 3
    """
    settings = read_settings(ctx)
    from pydantic import ValidationError

    from contracts.events import CUSTOMER_ID

    try:
        CUSTOMER_ID.validate_python(customer_id)
    except ValidationError:
        fail("ID must be 1 to 128 characters, without control characters", WRONG)
    with clear_errors(settings):
        from livesegments.analysis.customer.query import ask
        from livesegments.analysis.customer.text_view import text
        from livesegments.rendering.progress import counting

        with counting("looking through changes") as progress:
            told = ask(settings, customer_id, newest=newest, searched=searched, progress=progress)
        if as_json:
            typer.echo(json.dumps(told.to_dict(), indent=2))
        else:
            typer.echo(text(told))
