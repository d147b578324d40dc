"""``livesegments report``: a report for marketing."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from livesegments.cli.console import WRONG, clear_errors, fail, read_settings
from livesegments.operations.atomic_file import replacing, unwritable


def report(
    ctx: typer.Context,
    file: Annotated[
        Path | None,
        typer.Argument(help="Page to write, - for standard output; without one, give --json."),
    ] = None,
    days: Annotated[
        int, typer.Option(min=1, max=3660, help="Length of the period, in event time.")
    ] = 30,
    lists: Annotated[
        Path | None,
        typer.Option(
            help="Folder for CSV files with real ids of customers with consent to marketing:"
            " target-SEGMENT.csv, retention.csv, cross-sell.csv."
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="The same figures, for scripts.")] = False,
) -> None:
    """Report on the running service: segments, moves, customers to target and keep, cross-selling.

    The page is self-contained and names customers only by a keyed hash.

    Example: livesegments report report.html --days 30 --lists campaigns
    """
    settings = read_settings(ctx)
    if file is None and not as_json:
        fail("name the page to write, such as report.html, or give --json", WRONG)
    to_stdout = str(file) == "-"
    if to_stdout and as_json:
        fail("- and --json both write to standard output: give one of them", WRONG)
    if file is not None and not to_stdout and (why := unwritable(file)):
        fail(why, WRONG)
    with clear_errors(settings):
        from livesegments.extras import require

        require("files", "the report", "duckdb")
        from livesegments.analysis.pages.report import build_report, page

        found, written = build_report(settings, days, lists)
        if to_stdout:
            typer.echo(page(found))
        elif file is not None:
            with replacing(file) as unfinished:
                unfinished.write_text(page(found), "utf-8")
            typer.echo(f"wrote {file}", err=as_json)
        for note in notes(found, written):
            typer.echo(note, err=True)
        for name, customers in written.items():
            typer.echo(f"wrote {name} in {lists}: {customers} customers", err=as_json or to_stdout)
        if as_json:
            typer.echo(json.dumps(found, allow_nan=False))


def notes(found: dict[str, Any], written: dict[str, int]) -> Iterator[str]:
    """Yield what to look into: ids that no person can have, and lists that must be empty."""
    for each in found["quality"]["implausible_ids"]:
        who = f"placeholder {each['customer_id']!r}"
        if not each["is_placeholder"]:
            who = f"customer with the hash {each['customer_id']}"
        yield (
            f"the {who} has {each['share']:.1%} of the purchases, more than a person can have: is"
            " it an id of guests?"
        )
    if written and not any(each["consenting"] for each in found["targets"]):
        yield (
            "no customer in a segment is known to consent to marketing, so no list has a customer:"
            " send consent in profiles (unknown counts as refused)"
        )
