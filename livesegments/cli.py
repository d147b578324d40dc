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
    backfill: Annotated[
        bool,
        typer.Option("--backfill", help="Changes that these events make say origin: backfill."),
    ] = False,
) -> None:
    """Send purchases from a file to their topic, as fast as it goes or at a pace.

    Example: livesegments replay purchases.csv --profiles profiles.csv --speed 3600
    """
    if on_error not in ("stop", "skip"):
        fail(f"--on-error is {on_error!r}; it can be stop or skip", WRONG)
    if speed is not None and not 0 < speed < float("inf"):
        fail(f"--speed must be above 0, not {speed}", WRONG)
    settings = _settings()
    for file in filter(None, (purchases, profiles)):
        if not file.is_file():
            fail(f"{file}: no such file")
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
                backfill=backfill,
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
def backtest(
    history: Annotated[
        Path, typer.Argument(help="Purchases: CSV, JSON Lines or Parquet, also gzipped.")
    ],
    profiles: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(help="Customer profiles."),
    ] = None,
    compare: Annotated[
        Optional[list[str]],  # noqa: UP045
        typer.Option(
            help="Run several values of a setting side by side: NAME=VALUE,VALUE with margin,"
            " dwell, window, tiles, warmup or gain; given again, all combinations."
        ),
    ] = None,
    html: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(help="Write a page with plots to this file."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="For scripts.")] = False,
    timezone: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(
            callback=_timezone, help="Of times without an offset, such as UTC or Europe/Berlin."
        ),
    ] = None,
) -> None:
    """Try the settings on a history, without servers: sizes, changes, quality, drift of names.

    Example: livesegments backtest purchases.csv --compare margin=0,0.15,0.3 --html report.html
    """
    from functools import partial

    from livesegments.settings import load

    settings = _settings()
    with clear_errors(settings, kafka=False):
        from livesegments.backtest.command import variants
        from livesegments.backtest.page import page
        from livesegments.backtest.run import backtest as run_history
        from livesegments.backtest.text import lines
        from livesegments.progress import counting

        try:
            tried = variants(settings, compare or [], partial(load, _env_file))
        except ValueError as error:
            fail(str(error), WRONG)
        with counting("reading") as show:
            found = run_history(history, profiles, tried, timezone=timezone, progress=show)
        typer.echo(json.dumps(found.to_dict()) if as_json else "\n".join(lines(found)))
        if html is not None:
            html.write_text(page(found), "utf-8")
            typer.echo(f"wrote {html}", err=True)
        if not found.shown.segments:
            raise typer.Exit(FAILED)


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
        known = [persona.id for persona in settings.personas]
        if segment not in known:
            fail(f"--segment is {segment!r}; it can be {', '.join(known)}", WRONG)
    with clear_errors(settings):
        from consumers.subscriber import follow
        from contracts.topics import CHANGES, STATES
        from livesegments.clients import kafka_config
        from livesegments.topics import check_allowed

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
    with clear_errors(settings, kafka=False):
        from livesegments.clients import redis_client
        from livesegments.export import export as write
        from livesegments.progress import counting
        from store.partitions import Partitions

        with counting("exporting") as show:
            rows = write(Partitions(redis_client(settings), settings.group_id), file, show)
        typer.echo(f"wrote {rows} customers to {file}")


@app.command()
def refit(
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only show what would change.")
    ] = False,
    everyone: Annotated[
        bool,
        typer.Option(
            "--all", help="Fit all customers, not a sample of 3,000: exact, and slow with millions."
        ),
    ] = False,
    no_wait: Annotated[
        bool, typer.Option("--no-wait", help="Leave the request and do not see it through.")
    ] = False,
    timeout: Annotated[
        float,
        typer.Option(min=1, help="Seconds for a worker to take the fit, or for anything to move."),
    ] = 60.0,
    as_json: Annotated[bool, typer.Option("--json", help="For scripts.")] = False,
) -> None:
    """Fit the model anew and show who would move; the running service then takes the fit over.

    Exit 1 if there is no model yet, or no worker takes the fit. Example: livesegments refit
    --dry-run
    """
    settings = _settings()
    with clear_errors(settings):
        from livesegments.progress import counting
        from livesegments.refit import Refit

        work = Refit(settings, lambda line: typer.echo(line, err=True))
        proposal = work.propose(everyone=everyone)
        told = proposal.to_dict()
        if not as_json:
            typer.echo("\n".join(proposal.lines()))
        if not dry_run and proposal.gain <= 0:
            typer.echo("nothing better was found: the model stays as it is", err=True)
        elif not dry_run:
            request = work.request(proposal, timeout)
            typer.echo("asked the owner of partition 0 to take it", err=True)
            if not no_wait:
                told["generation"] = number = work.wait_for_generation(request, timeout).number
                typer.echo(f"generation {number} is published", err=True)
                with counting("customers taken over") as show:
                    work.wait_for_takeover(number, timeout, show)
        if as_json:
            typer.echo(json.dumps(told, indent=2))


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
            settings.days_kept,
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
def personas(
    as_json: Annotated[bool, typer.Option("--json", help="For scripts.")] = False,
    template: Annotated[
        bool, typer.Option("--template", help="As a file to make your own from.")
    ] = False,
) -> None:
    """Show the five segments, and where each expects its customers.

    Yours take their place: livesegments personas --template > mine.toml, edit it, and set
    LIVESEGMENTS_PERSONAS_FILE=mine.toml for every worker and command.
    """
    if as_json and template:
        fail("--json and --template exclude each other", WRONG)
    five = _settings().personas
    from livesegments.personas import to_dict, to_table, to_toml

    if template:
        typer.echo(to_toml(five), nl=False)
    elif as_json:
        typer.echo(json.dumps([to_dict(persona) for persona in five], indent=2))
    else:
        typer.echo("\n".join(to_table(five)))


@app.command()
def version() -> None:
    """Show the version."""
    typer.echo(__version__)


if __name__ == "__main__":
    main()
