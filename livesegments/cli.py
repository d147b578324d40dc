"""The command line. Commands import what they need when they run, so that help is quick."""

import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Optional

import typer

from livesegments import __version__
from livesegments.commands import dead_letters
from livesegments.console import (
    FAILED,
    PREFIX,
    WRONG,
    Commands,
    clear_errors,
    fail,
    read_settings,
)

if TYPE_CHECKING:
    from livesegments.settings import Settings


app = typer.Typer(
    cls=Commands,
    help="Keeps every customer in the right marketing segment, seconds after the purchase that"
    " moved them. Settings are environment variables LIVESEGMENTS_*: `livesegments settings`"
    " lists them.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
topics_app = typer.Typer(help="The topics that come in and go out.", no_args_is_help=True)
app.add_typer(topics_app, name="topics")
app.add_typer(dead_letters.app, name="dead-letters")

_env_file: Path | None = None


def main() -> None:
    """Run the command line."""
    app()


def _settings() -> "Settings":
    return read_settings(_env_file)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(__version__)
        raise typer.Exit


@app.callback()
def _options(
    ctx: typer.Context,
    env_file: Annotated[
        Optional[Path],  # noqa: UP045 - typer reads it at run time
        typer.Option(help="A file with lines LIVESEGMENTS_NAME=value; the environment wins."),
    ] = None,
    show_version: Annotated[  # noqa: ARG001 - its callback acts
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    global _env_file
    _env_file = env_file
    if os.environ.get("NO_COLOR"):
        ctx.color = False


@app.command()
def run(
    accept_loss: Annotated[
        bool,
        typer.Option(
            "--accept-loss",
            help="Go on though the store is lost and the purchases topic no longer holds a whole"
            " window: windows then start short.",
        ),
    ] = False,
) -> None:
    """Run a worker, until SIGTERM or Ctrl-C; run as many as there are partitions.

    Example: LIVESEGMENTS_KAFKA_BOOTSTRAP_SERVERS=kafka:9092 livesegments run
    """
    settings = _settings()
    with clear_errors(settings):
        from livesegments import worker

        worker.run(settings, accept_loss=accept_loss)


@topics_app.command("create")
def topics_create(
    partitions: Annotated[
        Optional[int],  # noqa: UP045
        typer.Option(min=1, help="Of every topic; 4, or as many as existing ones have."),
    ] = None,
    replication_factor: Annotated[int, typer.Option(min=1, help="3 in production.")] = 1,
    retention_days: Annotated[
        int, typer.Option(min=1, help="How long purchases and erasures stay; at least a window.")
    ] = 400,
) -> None:
    """Create the topics that do not exist yet.

    Example: livesegments topics create --partitions 12 --replication-factor 3
    """
    settings = _settings()
    if retention_days < settings.window_days:
        fail(
            f"--retention-days {retention_days} is less than the window of {settings.window_days}"
            f" days ({PREFIX}WINDOW_DAYS): a lost store could not be rebuilt",
            WRONG,
        )
    with clear_errors(settings):
        from livesegments.clients import kafka_config
        from livesegments.topics import create_topics

        for name, what in create_topics(
            kafka_config(settings),
            partitions=partitions,
            replication_factor=replication_factor,
            retention_days=retention_days,
        ):
            typer.echo(f"{what:>8}  {name}")


def _timezone(name: str | None) -> str | None:
    if name is not None:
        from producers.replay import zone_named

        try:
            zone_named(name)
        except ValueError as error:
            fail(f"--timezone: {error}", WRONG)
    return name


@app.command()
def replay(
    purchases: Annotated[Path, typer.Argument(help="CSV, JSON Lines or Parquet, also gzipped.")],
    profiles: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(help="Customer profiles, sent first."),
    ] = None,
    speed: Annotated[
        Optional[float],  # noqa: UP045
        typer.Option(min=0, help="Event time runs so many times as fast as the clock."),
    ] = None,
    on_error: Annotated[
        str, typer.Option(help="`stop` at a broken row, or `skip` it and report it at the end.")
    ] = "stop",
    timezone: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(
            callback=_timezone, help="Of times without an offset, such as UTC or Europe/Berlin."
        ),
    ] = None,
) -> None:
    """Send purchases from a file to their topic, as fast as it goes or at a pace.

    Example: livesegments replay purchases.csv --profiles profiles.csv --speed 3600
    """
    if on_error not in ("stop", "skip"):
        fail(f"--on-error is {on_error!r}; it can be stop or skip", WRONG)
    if speed is not None and not 0 < speed < float("inf"):
        fail(f"--speed must be above 0, not {speed}", WRONG)
    settings = _settings()
    with clear_errors(settings):
        from livesegments.clients import kafka_config
        from livesegments.progress import counting
        from producers.replay import replay as send

        with counting("sending") as show:
            done = send(
                purchases,
                client=kafka_config(settings),
                currency=settings.currency,
                profiles_file=profiles,
                speed=speed,
                on_error="skip" if on_error == "skip" else "stop",
                timezone=timezone,
                progress=show,
            )
        for row in done.broken_rows:
            typer.echo(f"skipped {row}", err=True)
        if done.skipped > len(done.broken_rows):
            typer.echo(f"skipped {done.skipped - len(done.broken_rows)} more rows", err=True)
        typer.echo(
            f"sent {done.purchases} purchases and {done.profiles} profiles in {done.seconds:.1f} s"
            f" ({done.sent / max(done.seconds, 1e-9):,.0f}/s), skipped {done.skipped} rows"
        )


@app.command()
def subscribe(
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
    changes_only: Annotated[
        bool, typer.Option("--changes-only", help="Leave out where everyone is now.")
    ] = False,
    from_start: Annotated[
        bool, typer.Option("--from-start", help="All changes that the topic still holds.")
    ] = False,
    segment: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(help="Only customers who enter or leave this segment, by its id."),
    ] = None,
    limit: Annotated[
        Optional[int],  # noqa: UP045
        typer.Option(min=1, help="End after so many lines."),
    ] = None,
    idle_exit: Annotated[
        Optional[float],  # noqa: UP045
        typer.Option(help="End when nothing came for so many seconds."),
    ] = None,
) -> None:
    """Show where every customer is, then each change as it comes.

    Example: livesegments subscribe --segment high-value-customers --json
    """
    settings = _settings()
    if segment is not None:
        from model.personas import PERSONAS

        known = [persona.id for persona in PERSONAS]
        if segment not in known:
            fail(f"--segment is {segment!r}; it can be {', '.join(known)}", WRONG)
    with clear_errors(settings):
        from consumers.subscriber import follow
        from livesegments.clients import kafka_config

        follow(
            kafka_config(settings),
            write=typer.echo,
            as_json=as_json,
            changes_only=changes_only,
            from_start=from_start,
            segment=segment,
            limit=limit,
            idle_exit=idle_exit,
        )


@app.command()
def export(
    file: Annotated[Path, typer.Argument(help="Ends in .csv, .jsonl or .parquet.")],
) -> None:
    """Write one row a customer: segment, window and profile as they are now.

    Example: livesegments export segments.parquet
    """
    settings = _settings()
    if file.suffix not in (".csv", ".jsonl", ".parquet"):
        fail(f"{file}: the name must end in .csv, .jsonl or .parquet", WRONG)
    with clear_errors(settings):
        from livesegments.clients import redis_client
        from livesegments.export import export as write
        from livesegments.progress import counting
        from store.partitions import Partitions

        with counting("exporting") as show:
            rows = write(Partitions(redis_client(settings), settings.group_id), file, show)
        typer.echo(f"wrote {rows} customers to {file}")


@app.command()
def doctor(
    as_json: Annotated[bool, typer.Option("--json", help="For scripts.")] = False,
) -> None:
    """Check broker, store, topics and progress, and say what to fix; exit 1 if something must be.

    Example: livesegments doctor
    """
    settings = _settings()
    from dataclasses import asdict

    from livesegments.doctor import examine

    findings = examine(settings)
    if as_json:
        typer.echo(json.dumps([asdict(finding) for finding in findings], indent=2))
    for finding in [] if as_json else findings:
        colour = {"ok": typer.colors.GREEN, "warn": typer.colors.YELLOW}.get(
            finding.status, typer.colors.RED
        )
        typer.secho(f"{finding.status:>5}", fg=colour, nl=False)
        typer.echo(f"  {finding.name}: {finding.detail}")
        if finding.fix and finding.status != "ok":
            typer.echo(f"       -> {finding.fix}")
    if any(finding.status == "fail" for finding in findings):
        raise typer.Exit(FAILED)


@app.command()
def verify(
    as_json: Annotated[bool, typer.Option("--json", help="For scripts.")] = False,
) -> None:
    """Recompute everything from Kafka and hold the store and the topics against it.

    Reads the input topics whole, so it takes a while; it is meant for a quiet moment. Exit 1 on any
    fault. Example: livesegments verify --json
    """
    settings = _settings()
    with clear_errors(settings):
        from livesegments.clients import kafka_config, redis_client
        from livesegments.verify import verify as check

        report = check(
            redis_client(settings),
            kafka_config(settings),
            settings.group_id,
            lambda what: typer.echo(what, err=True),
        )
        lines = [json.dumps(report.to_dict(), indent=2)] if as_json else report.lines()
        typer.echo("\n".join(lines))
        if report.faults:
            raise typer.Exit(FAILED)


@app.command()
def rebuild(
    accept_loss: Annotated[
        bool,
        typer.Option(
            "--accept-loss",
            help="Also when the purchases topic no longer holds a whole window.",
        ),
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="For scripts.")] = False,
) -> None:
    """Empty the store and make it anew from Kafka: for other settings, or a store gone wrong.

    Published segments stay as they are. Running workers do it, or else this command.
    Example: livesegments rebuild --yes
    """
    settings = _settings()
    if not yes and not sys.stdin.isatty():
        fail("it empties the store: say --yes", WRONG)
    with clear_errors(settings):
        from dataclasses import asdict

        from livesegments import rebuild as rebuilding
        from livesegments.progress import counting

        planned = rebuilding.plan(settings, accept_loss=accept_loss)
        who = f"{planned.workers} running workers" if planned.workers else "this command"
        typer.echo(
            f"empties {planned.customers} customers of group {settings.group_id!r} in Redis;"
            f" {who} will make them anew",
            err=True,
        )
        if not yes and not typer.confirm("go on?", err=True):
            fail("nothing was touched")
        with counting("folding") as show:
            done = rebuilding.rebuild(settings, planned, accept_loss=accept_loss, progress=show)
        typer.echo(
            json.dumps(asdict(done), indent=2)
            if as_json
            else f"rebuilt {done.customers} customers in {done.partitions} partitions in"
            f" {done.seconds:.1f} s"
        )
        if not done.complete:
            fail("it was stopped before the end; the next worker goes on")


@app.command()
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


@app.command()
def settings(
    as_json: Annotated[bool, typer.Option("--json", help="For scripts.")] = False,
) -> None:
    """List every setting: its value, where it is not the default, and what it means."""
    from livesegments.settings import describe

    listed = describe(_settings())
    if as_json:
        typer.echo(json.dumps(listed, indent=2))
    for each in [] if as_json else listed:
        changed = "" if each["value"] == each["default"] else f"  (default {each['default']})"
        typer.echo(f"{each['name']}={each['value']}{changed}")
        typer.echo(f"    {each['description']}")


@app.command()
def version() -> None:
    """Show the version."""
    typer.echo(__version__)


if __name__ == "__main__":
    main()
