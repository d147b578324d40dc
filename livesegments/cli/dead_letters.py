"""``livesegments dead-letters``: inspect rejected records, and replay them after a fix."""

from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from heapq import nlargest
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from livesegments.cli.console import (
    WRONG,
    Commands,
    Json,
    clear_errors,
    fail,
    print_json,
    read_settings,
)
from livesegments.rendering.formats import printable

if TYPE_CHECKING:
    from livesegments.config.settings import Settings
    from livesegments.operations.dead_letters import Letter, Selection
    from livesegments.operations.dead_letters_replay import SourceEvents

app = typer.Typer(
    cls=Commands,
    help="Rejected records: list them, show one, or send them again after a fix.",
    no_args_is_help=True,
)

_UNITS = {"m": "minutes", "h": "hours", "d": "days"}


Reason = Annotated[str | None, typer.Option(help="Only those rejected for this reason.")]
Topic = Annotated[str | None, typer.Option(help="Only those from this input topic.")]
Since = Annotated[
    str | None, typer.Option(help="Only those rejected since: 30m, 6h, 7d, or 2026-03-01T08:00Z.")
]
Partition = Annotated[int | None, typer.Option(min=0, help="Only this partition of dead letters.")]
Values = Annotated[
    bool,
    typer.Option("--values", help="Also show keys, values and headers (may be personal data)."),
]


@app.command("list")
def list_(
    ctx: typer.Context,
    reason: Reason = None,
    topic: Topic = None,
    since: Since = None,
    partition: Partition = None,
    limit: Annotated[int, typer.Option(min=0, help="Number of newest dead letters to list.")] = 20,
    values: Values = False,
    as_json: Json = False,
) -> None:
    """Count dead letters by reason, and list the newest ones.

    Example: livesegments dead-letters list --reason schema_invalid --since 7d
    """
    selection = _selection(reason, topic, since, partition)
    settings = read_settings(ctx)
    with clear_errors(settings):
        from livesegments.config.clients import kafka_config
        from livesegments.operations.dead_letters import letters

        counts: Counter[str] = Counter()
        replayed: Counter[str] = Counter()

        def counted() -> "Iterator[Letter]":
            for letter in letters(kafka_config(settings), selection):
                counts[letter.origin.reason] += 1
                replayed[letter.origin.reason] += letter.replayed_at is not None
                yield letter

        shown = nlargest(limit or 1, counted(), key=lambda letter: letter.place.timestamp_ms)[
            :limit
        ]
        if as_json:
            found = {
                "reasons": {
                    name: {"letters": count, "replayed": replayed[name]}
                    for name, count in counts.most_common()
                },
                "letters": [_document(letter, values) for letter in shown],
            }
            print_json(found)
            return
        typer.echo(f"{'reason':<16}{'letters':>9}{'replayed':>10}")
        for name, count in counts.most_common():
            typer.echo(f"{printable(name):<16}{count:>9}{replayed[name]:>10}")
        typer.echo(f"{'all':<16}{counts.total():>9}{replayed.total():>10}")
        for letter in shown:
            typer.echo(printable(_line(letter)))
            if values:
                key, value = (printable(str(_text(each))) for each in (letter.key, letter.value))
                typer.echo(f"    {key}: {value}")


@app.command()
def show(
    ctx: typer.Context,
    partition: Annotated[int, typer.Argument(min=0, help="Partition of the dead letter.")],
    offset: Annotated[int, typer.Argument(min=0, help="Its offset there.")],
    values: Values = False,
    as_json: Json = False,
) -> None:
    """Show one dead letter, by its position in `list`, and whether it would be accepted now.

    Example: livesegments dead-letters show 2 17 --values
    """
    settings = read_settings(ctx)
    selection = _selection(None, None, None, partition, offset)
    with clear_errors(settings):
        from livesegments.config.clients import kafka_config
        from livesegments.operations.dead_letters import letters, refusal

        letter = next(letters(kafka_config(settings), selection), None)
        if letter is None:
            fail(f"no dead letter at partition {partition}, offset {offset}")
        found = _document(letter, values)
        asked = settings.consent == "required"
        why = refusal(letter, settings.currency, datetime.now(UTC), consent_required=asked)
        found["now"] = why or "would be taken"
        if as_json:
            print_json(found)
            return
        for name, value in found.items():
            typer.echo(f"{name:<16}{'' if value is None else printable(str(value))}")


@app.command()
def replay(
    ctx: typer.Context,
    reason: Reason = None,
    topic: Topic = None,
    since: Since = None,
    partition: Partition = None,
    offset: Annotated[
        int | None, typer.Option(min=0, help="Only the record at this offset of --partition.")
    ] = None,
    refused_too: Annotated[
        bool, typer.Option("--refused-too", help="Also records that would be rejected again.")
    ] = False,
    sources: Annotated[
        Path | None,
        typer.Option(help="TOML file of sources, whose dead letters go through its queries again."),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only show the result; send nothing.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Send dead letters back to their original topics after a fix, each of them at most once.

    Records that would be rejected again are reported and skipped, as are profiles
    that would replace a later one. It can be stopped at any time and run again.

    Example: livesegments dead-letters replay --reason future_dated --dry-run
    """
    if offset is not None and partition is None:
        fail("--offset needs --partition", WRONG)
    selection = _selection(reason, topic, since, partition, offset)
    settings = read_settings(ctx)
    with clear_errors(settings):
        from livesegments.config.clients import kafka_config
        from livesegments.contracts.topics import DEAD_LETTERS, INPUTS, PROFILES, REPLAYS
        from livesegments.operations.dead_letters_replay import Rules, rehearse
        from livesegments.operations.dead_letters_replay import replay as send_again
        from livesegments.operations.topics import check_allowed
        from livesegments.rendering.progress import counting

        config = kafka_config(settings)
        rules = Rules(
            settings.currency,
            settings.partitioner,
            consent_required=settings.consent == "required",
            refused_too=refused_too,
            sources=_source_events(settings, sources),
        )
        readable = [DEAD_LETTERS, REPLAYS, PROFILES]
        check_allowed(config, read=readable, write=[] if dry_run else [*INPUTS, REPLAYS])
        if dry_run:
            outcome = rehearse(config, selection, rules)
        else:
            with counting("replaying") as progress:
                outcome = send_again(config, selection, rules, progress)
        if as_json:
            print_json({"dry_run": dry_run, **outcome.to_dict()})
            return
        typer.echo(
            f"{'would send' if dry_run else 'sent'} {_counted(outcome.sent)};"
            f" {_counted(outcome.sent_before)} sent before;"
            f" {_counted(outcome.refused_again)} would be rejected again"
        )
        for why, count in outcome.refusals.most_common(10):
            typer.echo(f"{count:>9}  {why}")


def _source_events(settings: "Settings", path: Path | None) -> "SourceEvents | None":
    if path is None:
        return None
    from livesegments.extras import require

    require("ingest", "--sources", "duckdb")
    from functools import partial

    from livesegments.ingest.definitions import SourcesError, load
    from livesegments.ingest.preparation import transforms
    from livesegments.ingest.replays import events_of

    try:
        loaded = load(path)
    except SourcesError as error:
        fail(str(error), WRONG)
    found = transforms(settings, loaded, loaded.source)
    return partial(events_of, {each.source.name: each for each in found})


def _selection(
    reason: str | None,
    topic: str | None,
    since: str | None,
    partition: int | None,
    offset: int | None = None,
) -> "Selection":
    from livesegments.contracts.dead_letters import Reason as Known
    from livesegments.contracts.topics import INPUTS
    from livesegments.operations.dead_letters import Selection

    for name, given, allowed in (("reason", reason, list(Known)), ("topic", topic, list(INPUTS))):
        if given is not None and given not in allowed:
            fail(f"--{name} is {given!r}; it can be {', '.join(allowed)}", WRONG)
    return Selection(reason, topic, None if since is None else _instant(since), partition, offset)


def _instant(text: str) -> datetime:
    try:
        if text[:-1].isdigit() and text[-1] in _UNITS:
            return datetime.now(UTC) - timedelta(**{_UNITS[text[-1]]: int(text[:-1])})
        instant = datetime.fromisoformat(text)
    except (ValueError, OverflowError):
        fail(f"--since is {text!r}; it can be 30m, 6h, 7d, or 2026-03-01T08:00Z", WRONG)
    return instant if instant.tzinfo else instant.replace(tzinfo=UTC)


def _line(letter: "Letter") -> str:
    origin = letter.origin
    again = "  (replayed)" if letter.replayed_at else ""
    return (
        f"{letter.refused_at:%Y-%m-%d %H:%M:%S}  {letter.place.partition} {letter.place.offset}"
        f"  {origin.topic} {origin.partition} {origin.offset}"
        f"  {origin.reason}  {origin.message}{again}"
    )


def _document(letter: "Letter", values: bool) -> dict[str, Any]:
    origin = letter.origin
    document: dict[str, Any] = {
        "partition": letter.place.partition,
        "offset": letter.place.offset,
        "refused_at": letter.refused_at.isoformat(),
        "reason": origin.reason,
        "message": origin.message,
        "from_topic": origin.topic,
        "from_partition": origin.partition,
        "from_offset": origin.offset,
        "bytes": len(letter.value or b""),
        "replayed_at": letter.replayed_at and letter.replayed_at.isoformat(),
    }
    if values:
        headers = [[name, _text(value)] for name, value in origin.original_headers]
        document |= {"key": _text(letter.key), "value": _text(letter.value), "headers": headers}
    return document


def _text(data: bytes | None) -> str | None:
    """Return bytes as text; invalid UTF-8 is shown as escapes."""
    return None if data is None else data.decode(errors="backslashreplace")


def _counted(counts: Counter[str]) -> str:
    listed = ", ".join(f"{count} {name}" for name, count in counts.most_common())
    return f"{counts.total()} ({listed})" if listed else "0"
