"""``livesegments subscribe``: follow segment changes."""

from typing import Annotated

import typer

from livesegments.cli.console import WRONG, clear_errors, fail, read_settings


def subscribe(
    ctx: typer.Context,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object per line.")] = False,
    changes_only: Annotated[
        bool, typer.Option("--changes-only", help="Do not show the current segments.")
    ] = False,
    from_start: Annotated[
        bool, typer.Option("--from-start", help="Start with all changes that the topic retains.")
    ] = False,
    segment: Annotated[
        str | None, typer.Option(help="Only customers who enter or leave this segment, by its id.")
    ] = None,
    limit: Annotated[
        int | None, typer.Option(min=1, help="Exit after this number of lines.")
    ] = None,
    idle_exit: Annotated[
        float | None, typer.Option(help="Exit after this number of seconds without a record.")
    ] = None,
) -> None:
    """Show every customer's current segment, then each change as it arrives.

    Example: livesegments subscribe --segment high-value-customers --json
    """
    settings = read_settings(ctx)
    if segment is not None:
        known = settings.read_segmentation().segment_ids
        if segment not in known:
            fail(f"--segment is {segment!r}; it can be {', '.join(known)}", WRONG)
    with clear_errors(settings):
        from kafka.errors import TopicAuthorizationFailedError

        from livesegments.config.clients import kafka_config
        from livesegments.contracts.topics import CHANGES, DEFINITIONS, STATES
        from livesegments.operations.subscribe import follow, read_doubted
        from livesegments.operations.topics import check_allowed
        from livesegments.rendering.formats import DOUBT

        config = kafka_config(settings)
        check_allowed(config, read=[CHANGES, STATES])
        doubted: set[str] = set()
        if not as_json:
            try:
                check_allowed(config, read=[DEFINITIONS])
                doubted = read_doubted(config)
            except TopicAuthorizationFailedError:
                typer.echo(f"doubted names are not marked: {DEFINITIONS} may not be read", err=True)
        if doubted:
            typer.echo(DOUBT, err=True)
        follow(
            config,
            write=typer.echo,
            as_json=as_json,
            changes_only=changes_only,
            from_start=from_start,
            segment=segment,
            limit=limit,
            idle_exit=idle_exit,
            doubted=doubted,
        )
