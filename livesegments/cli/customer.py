"""``livesegments customer``: show one customer."""

from typing import Annotated

import typer

from livesegments.cli.console import WRONG, Json, clear_errors, fail, print_json, read_settings


def customer(
    ctx: typer.Context,
    customer_id: Annotated[
        str,
        typer.Argument(
            metavar="ID", help="Customer id; write -- before one that begins with a dash."
        ),
    ],
    newest: Annotated[
        int, typer.Option("--history", min=0, max=1_000, help="Number of recent changes to show.")
    ] = 10,
    searched: Annotated[
        int,
        typer.Option(
            "--search",
            min=1,
            help="Number of newest changes of the customer's partition to search.",
        ),
    ] = 1_000_000,
    as_json: Json = False,
) -> None:
    """Show a customer's segment, the reasons, and changes that would move them.

    Exits with 1 if the customer is unknown. For an erased one it shows the erasure.

    Example: livesegments customer 42 --history 3
    """
    settings = read_settings(ctx)
    from pydantic import ValidationError

    from livesegments.contracts.events import CUSTOMER_ID

    try:
        CUSTOMER_ID.validate_python(customer_id)
    except ValidationError:
        fail("ID must be 1 to 128 characters, without control characters", WRONG)
    with clear_errors(settings):
        from livesegments.analysis.customer.query import query_customer
        from livesegments.analysis.customer.text_view import text
        from livesegments.rendering.progress import counting

        with counting("searching changes") as progress:
            answer = query_customer(
                settings, customer_id, newest=newest, searched=searched, progress=progress
            )
        if as_json:
            print_json(answer)
        else:
            typer.echo(text(answer))
