"""``livesegments ingest``: turn records of any topics into events, by queries."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from livesegments.cli.console import WRONG, clear_errors, fail, read_settings
from livesegments.rendering.formats import printable

if TYPE_CHECKING:
    from livesegments.ingest.rehearsal import Outcome


def ingest(
    ctx: typer.Context,
    sources: Annotated[Path, typer.Argument(help="TOML file of sources: docs/sources.md.")],
    source: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="Only this source; may be given several times."),
    ] = None,
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Show what becomes of the newest records; send nothing."),
    ] = False,
    sample: Annotated[
        int, typer.Option(min=1, max=100_000, help="Records of each source, with --dry-run.")
    ] = 20,
    as_json: Annotated[
        bool, typer.Option("--json", help="With --dry-run: one JSON object a record.")
    ] = False,
    accept_loss: Annotated[
        bool,
        typer.Option(
            "--accept-loss",
            help="Continue at the start of a topic from which unread records are gone.",
        ),
    ] = False,
) -> None:
    """Turn records of any topics into purchases, profiles or erasures, by a query for each.

    Runs until SIGTERM or Ctrl-C; several processes share the partitions.
    Presets to start from: `livesegments sources list`.

    Example: livesegments ingest SOURCES.toml --dry-run
    """
    settings = read_settings(ctx)
    from livesegments.ingest.definitions import SourcesError, load

    try:
        loaded = load(sources)
        chosen = loaded.named(source or [])
    except SourcesError as error:
        fail(str(error), WRONG)
    with clear_errors(settings):
        from livesegments.extras import require

        require("ingest", "ingest", "duckdb")
        if not dry_run:
            from livesegments.ingest import app

            app.run(settings, loaded, chosen, accept_loss=accept_loss)
            return
        from livesegments.ingest.rehearsal import rehearse

        for outcome in rehearse(settings, loaded, chosen, sample):
            typer.echo(json.dumps(_document(outcome)) if as_json else _text(outcome))


def _text(outcome: "Outcome") -> str:
    source, record, rejection = outcome.source, outcome.record, outcome.rejection
    where = f"{source.name}  {source.topic} {record.partition} {record.offset}"
    told = [_value(each.value) for each in outcome.events]
    if rejection is not None:
        told.append(f"dead letter: {rejection.reason}: {rejection.message}")
    return "\n".join(f"{where}  {each}" for each in told or ["left out by the query"])


def _value(value: bytes | None) -> str:
    text = "deletes the profile" if value is None else value.decode(errors="backslashreplace")
    return printable(text)


def _document(outcome: "Outcome") -> dict[str, object]:
    source, record, rejection = outcome.source, outcome.record, outcome.rejection
    return {
        "source": source.name,
        "topic": source.topic,
        "partition": record.partition,
        "offset": record.offset,
        "into": source.into,
        "events": [
            {
                "key": each.key.decode(errors="backslashreplace"),
                "value": None if each.value is None else json.loads(each.value),
            }
            for each in outcome.events
        ],
        "reason": rejection and rejection.reason,
        "message": rejection and rejection.message,
    }
