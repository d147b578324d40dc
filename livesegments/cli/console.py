"""Conventions of all commands: one-line errors, exit codes and closed pipes."""

import json
import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer
from typer.core import TyperGroup

from livesegments.signals import ending_signals

if TYPE_CHECKING:
    from livesegments.config.settings import Settings

WRONG, FAILED, INTERRUPTED = 2, 1, 130


class Commands(TyperGroup):
    """Command group that tolerates a reader closing the output pipe early."""

    def format_commands(self, ctx: Any, formatter: Any) -> None:  # noqa: ARG002
        """List the commands with whole sentences; click cuts them at the end of the line."""
        rows = [
            (name, command.get_short_help_str(limit=sys.maxsize))
            for name, command in self.commands.items()
        ]
        with formatter.section("Commands"):
            formatter.write_dl(rows)

    def invoke(self, ctx: Any) -> Any:
        """Run a command."""
        try:
            return super().invoke(ctx)
        except BrokenPipeError:
            if ctx.invoked_subcommand == "run":
                raise  # a worker must not lose its log unnoticed
            # Keep the interpreter from flushing into the closed pipe at exit.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise typer.Exit from None


def fail(message: str, code: int = FAILED) -> NoReturn:
    """Print a line to standard error and exit."""
    typer.echo(f"livesegments: {message}", err=True)
    raise typer.Exit(code)


def print_json(found: object) -> None:
    """Print plain data as JSON over several lines."""
    typer.echo(json.dumps(found, indent=2))


def env_file(ctx: typer.Context) -> Path | None:
    """Return the file given by ``--env-file``."""
    named: Path | None = ctx.find_root().params["env_file"]
    return named


def read_settings(ctx: typer.Context) -> "Settings":
    """Load the settings and configure logging; an invalid setting ends the command."""
    from livesegments.config import logs
    from livesegments.config.settings import SettingsError, load, unread, without_prefix

    file = env_file(ctx)
    for said in unread():
        typer.echo(f"livesegments: warning: {said}", err=True)
    try:
        settings = load(file)
        for said in without_prefix(file) if file else ():
            typer.echo(f"livesegments: warning: {said}", err=True)
    except SettingsError as error:
        fail(str(error), WRONG)
    logs.configure(settings)
    return settings


@contextmanager
def clear_errors(settings: "Settings", *, kafka: bool = True) -> Iterator[None]:
    """Turn errors that users can fix into one line and exit code 1; others keep their traceback.

    At log level debug all errors keep it. If ``kafka`` is set, connect to Kafka first, since its
    clients retry permanent failures for a long time.
    """
    from kafka.errors import KafkaError, KafkaTimeoutError
    from redis.exceptions import RedisError

    from livesegments.config.connectivity import reach_kafka
    from livesegments.config.error_messages import explain

    try:
        if kafka:
            reach_kafka(settings)
        yield
    except (typer.Exit, BrokenPipeError):  # a RuntimeError and an OSError, but not failures
        raise
    except (KafkaError, RedisError, RuntimeError, ValueError, OSError) as error:
        if settings.log_level == "debug":
            raise
        if isinstance(error, KafkaTimeoutError):
            # Clients wait for topics that do not exist.
            with suppress(KafkaError):
                _check_topics(settings)
        fail(explain(error, settings))


def _check_topics(settings: "Settings") -> None:
    """Fail if topics are missing, or differ in their number of partitions."""
    from livesegments.config.clients import kafka_config
    from livesegments.contracts.topics import PartitionCountError, check_partition_counts
    from livesegments.operations.topics import partition_counts

    try:
        check_partition_counts(partition_counts(kafka_config(settings)), settings.topic_prefix)
    except PartitionCountError as error:
        fail(str(error))


@contextmanager
def ending_in_order() -> Iterator[threading.Event]:
    """Yield an event that the first Ctrl-C or SIGTERM sets; a second one exits immediately."""
    asked = threading.Event()
    signals = ending_signals()

    def end(_signum: int, _frame: FrameType | None) -> None:
        asked.set()
        for each, handler in before.items():
            signal.signal(each, handler)

    before = {each: signal.getsignal(each) for each in signals}
    for each in signals:
        signal.signal(each, end)
    try:
        yield asked
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)


def _known_timezone(name: str | None) -> str | None:
    if name is not None:
        from livesegments.contracts.timestamps import zone_named

        try:
            zone_named(name)
        except ValueError as error:
            fail(f"--timezone: {error}", WRONG)
    return name


Json = Annotated[bool, typer.Option("--json", help="JSON, for scripts.")]
Timezone = Annotated[
    str | None,
    typer.Option(
        callback=_known_timezone, help="Zone of times without an offset, such as Europe/Berlin."
    ),
]
