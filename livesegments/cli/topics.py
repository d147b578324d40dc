"""``livesegments topics``: create the input and output topics, or wait for them."""

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from livesegments.cli.console import WRONG, Commands, clear_errors, fail, read_settings
from livesegments.config import PREFIX

if TYPE_CHECKING:
    from livesegments.contracts.topics import Topic

_PAUSE_SECONDS = 1.0

app = typer.Typer(cls=Commands, help="The topics that come in and go out.", no_args_is_help=True)


@app.command("create")
def create(
    ctx: typer.Context,
    partitions: Annotated[
        int | None,
        typer.Option(min=1, help="Of each topic; unset: 4, or as many as existing topics have."),
    ] = None,
    replication_factor: Annotated[
        int, typer.Option(min=1, help="Copies of each; 3 in production.")
    ] = 1,
    retention_days: Annotated[
        int, typer.Option(min=1, help="Of purchases and changes; at least the window.")
    ] = 400,
    skip_config: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="A topic configuration to leave to the broker, if it refuses it; repeatable.",
        ),
    ] = None,
    print_only: Annotated[
        bool,
        typer.Option(
            "--print", help="Print commands (kafka-topics.sh) and manifests (Strimzi) instead."
        ),
    ] = False,
) -> None:
    """Create the topics that do not exist yet.

    Example: livesegments topics create --partitions 12 --replication-factor 3
    """
    from livesegments.contracts.topics import configured

    settings = read_settings(ctx)
    if retention_days < settings.window_days:
        fail(
            f"--retention-days {retention_days} is less than the window of {settings.window_days}"
            f" days ({PREFIX}WINDOW_DAYS): a lost store could not be rebuilt",
            WRONG,
        )
    skipped = skip_config or []
    try:
        wanted = configured(settings.topic_prefix, retention_days, skipped)
    except ValueError as error:
        fail(f"--skip-config: {error}", WRONG)
    if print_only:
        _print(wanted, settings.kafka_bootstrap_servers, partitions, replication_factor)
        return
    with clear_errors(settings):
        from livesegments.config.clients import kafka_config
        from livesegments.operations.topics import create_topics

        for name, what in create_topics(
            kafka_config(settings),
            partitions=partitions,
            replication_factor=replication_factor,
            retention_days=retention_days,
            skip_config=skipped,
        ):
            typer.echo(f"{what:>8}  {name}")


def _print(
    wanted: "Sequence[Topic]", servers: str, partitions: int | None, replication_factor: int
) -> None:
    """Print the topics: first as commands, then as manifests; comments say which."""
    from livesegments.contracts.topics import DEFAULT_PARTITIONS
    from livesegments.operations.topic_manifests import commands, manifests

    count = partitions or DEFAULT_PARTITIONS
    typer.echo("# As commands of Apache Kafka:")
    for command in commands(wanted, servers, count, replication_factor):
        typer.echo(command)
    typer.echo("\n# As manifests of Strimzi:")
    for manifest in manifests(wanted, count, replication_factor):
        typer.echo(f"---\n{manifest}")


@app.command("wait")
def wait(
    ctx: typer.Context,
    seconds: Annotated[
        float | None, typer.Option(min=0, help="Time after which to give up; unset: never.")
    ] = None,
) -> None:
    """Wait until Kafka answers and every topic of a worker exists.

    Example: livesegments topics wait --seconds 60
    """
    settings = read_settings(ctx)
    with clear_errors(settings, kafka=False):
        from livesegments.config.clients import kafka_config
        from livesegments.config.connectivity import ReachError, RefusedError, reach_kafka
        from livesegments.operations.topics import missing_topics

        deadline = time.monotonic() + (float("inf") if seconds is None else seconds)
        said = ""
        while True:
            try:
                reach_kafka(settings, 0.0)
                missing = missing_topics(kafka_config(settings))
                why = f"missing topics: {', '.join(missing)}" if missing else ""
            except RefusedError:
                raise
            except ReachError as error:
                why = str(error)
            if not why:
                return
            if time.monotonic() > deadline:
                fail(why)
            if why != said:
                typer.echo(f"waiting: {why}", err=True)
                said = why
            time.sleep(_PAUSE_SECONDS)
