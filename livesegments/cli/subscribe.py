"""``livesegments subscribe``: follow segment changes."""

from typing import Annotated

import typer

from livesegments.cli.console import WRONG, clear_errors, fail, read_settings


def subscribe(
    ctx: typer.Context,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
    changes_only: Annotated[
        bool, typer.Option("--changes-only", help="Leave out the current segments.")
    ] = False,
    from_start: Annotated[
        bool, typer.Option("--from-start", help="All changes that the topic still holds.")
    ] = False,
    segment: Annotated[
        str | None,
        typer.Option(help="Only customers who enter or leave this segment, by its id."),
    ] = None,
    limit: Annotated[
        int | None,
        typer.Option(min=1, help="Number of lines after which to end."),
    ] = None,
    idle_exit: Annotated[
        float | None,
        typer.Option(help="Seconds without a record after which to end."),
    ] = None,
) -> None:
    """Show every customer's current segment, then each change as it arrives.

    Example: livesegments subscribe --segment high-value-customers --json
    """
    settings = read_settings(ctx)
    if segment is not None:
        known = [persona.id for persona in settings.personas]
        if segment not in known:
            fail(f"--segment is {segment!r}; it can be {', '.join(known)}", WRONG)
    with clear_errors(settings):
        from livesegments.client import follow
        from livesegments.config.clients import kafka_config
        from livesegments.contracts.topics import CHANGES, STATES
        from livesegments.operations.topics import check_allowed

        config = kafka_config(settings)
        check_allowed(config, read=[CHANGES, STATES])
        follow(
            config,
            write=typer.echo,
            as_json=as_json,
            changes_only=changes_only,
            from_start=from_start,
            segment=segment,
            limit=limit,
            idle_exit=idle_exit,
        )
