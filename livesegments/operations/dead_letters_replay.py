"""Replay dead letters to their original topics, each of them at most once.

Each record is sent in one transaction with a marker on a separate topic, so a replay that is killed
at any point leaves both or neither. A replay first takes over the transactional id, which aborts
the open transaction of another replay and fences it, and only then reads the markers.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime
from typing import Any, TypeAlias

from livesegments.contracts.dead_letter_replays import mark
from livesegments.contracts.partitioning import Partitioner, Partitioning
from livesegments.contracts.topics import INPUTS, PROFILES, PURCHASES, REPLAYS
from livesegments.operations.dead_letters import (
    DeadLettersError,
    LaterProfiles,
    Letter,
    Selection,
    counted,
    letters,
    refusal,
)
from livesegments.operations.topics import partition_counts
from livesegments.producers.publisher import Publisher, PublishError
from livesegments.store.outbox import Output, Publication, serialize
from livesegments.topic_prefix import physical

TRANSACTIONAL_ID = "livesegments.dead-letter-replay"
"""Transactional id shared by all groups, since the topics are shared."""

BATCH_LETTERS = 500
BATCH_BYTES = 4 * 1024 * 1024


SourceEvents: TypeAlias = Callable[[Letter, datetime], list[Output] | str]
"""Returns the events of a source's dead letter, or the reason for which there would be none."""


@dataclass(slots=True)
class Outcome:
    """Actual or predicted results for the selected dead letters, by reason.

    ``refusals`` counts the new reason and message of each dead letter in ``refused_again``.
    """

    sent: Counter[str] = field(default_factory=Counter)
    sent_before: Counter[str] = field(default_factory=Counter)
    refused_again: Counter[str] = field(default_factory=Counter)
    refusals: Counter[str] = field(default_factory=Counter)

    def to_dict(self) -> dict[str, dict[str, int]]:
        """Return plain data for JSON."""
        return {each.name: dict(getattr(self, each.name)) for each in fields(self)}


@dataclass(frozen=True, slots=True)
class Rules:
    """Rules of a replay; currency, partitioner and consent are the deployment's.

    ``refused_too`` includes records that would be rejected again, except superseded profiles and
    records of sources. Without ``sources``, dead letters of sources are left alone.
    """

    currency: str
    partitioner: Partitioner = "murmur2"
    consent_required: bool = False
    refused_too: bool = False
    sources: SourceEvents | None = None


def rehearse(config: Mapping[str, Any], selection: Selection, rules: Rules) -> Outcome:
    """Report what `replay` would do, without sending anything."""
    outcome = Outcome()
    counts = partition_counts(config, INPUTS)
    partitioning = Partitioning(rules.partitioner, counts[PURCHASES] or 1)
    for _ in _due(config, selection, rules, partitioning, outcome):
        pass
    return outcome


def replay(
    config: Mapping[str, Any],
    selection: Selection,
    rules: Rules,
    progress: Callable[[int], None] = lambda _: None,
) -> Outcome:
    """Replay the selected dead letters with their key, value and headers, to their key's partition.

    Those already replayed are skipped. ``progress`` is called with the number of records after each
    transaction.

    Raises `DeadLettersError` if a topic is missing, or a transaction failed. Committed records and
    their markers stay, so another replay resumes after them.
    """
    counts = partition_counts(config, (*INPUTS, REPLAYS))
    missing = [physical(config, name) for name, count in counts.items() if not count]
    if missing:
        raise DeadLettersError(f"no topic {', '.join(missing)}: livesegments topics create")
    outcome = Outcome()
    partitioning = Partitioning(rules.partitioner, counts[PURCHASES])
    publisher = Publisher(config, physical(config, TRANSACTIONAL_ID))
    try:
        publisher.open()
        for batch in _batches(_due(config, selection, rules, partitioning, outcome)):
            publisher.publish(_publications(batch, datetime.now(UTC), partitioning), None)
            progress(outcome.sent.total())
    except PublishError as error:
        raise DeadLettersError(
            f"not all were sent ({error}): replay again; those already sent are marked and skipped"
        ) from error
    finally:
        publisher.close()
    return outcome


_Due: TypeAlias = tuple[Letter, list[Output]]
"""A dead letter to replay, and the records sent for it."""


def _due(
    config: Mapping[str, Any],
    selection: Selection,
    rules: Rules,
    partitioning: Partitioning,
    outcome: Outcome,
) -> Iterator[_Due]:
    """Yield the records to send, and count all outcomes."""
    later = LaterProfiles(config, partitioning)
    for letter in letters(config, selection):
        reason = letter.origin.reason
        if letter.replayed_at is not None:
            outcome.sent_before[reason] += 1
            continue
        if letter.origin.source is not None:
            why, outputs = _of_source(letter, rules, later)
        else:
            why, outputs = _of_input(letter, rules, partitioning, later)
        if why is not None:
            outcome.refused_again[reason] += 1
            outcome.refusals[why] += 1
        if outputs is not None:
            outcome.sent[reason] += 1
            yield letter, outputs


def _of_input(
    letter: Letter, rules: Rules, partitioning: Partitioning, later: LaterProfiles
) -> tuple[str | None, list[Output] | None]:
    """Return why an input record would be rejected again, and what to send."""
    superseded = later.refusal(letter) or counted(letter, partitioning)
    now = datetime.now(UTC)
    why = refusal(letter, rules.currency, now, consent_required=rules.consent_required)
    why = why or superseded
    may_be_sent = letter.origin.topic in INPUTS and superseded is None
    if why is not None and not (rules.refused_too and may_be_sent):
        return why, None
    headers = [(name, value or b"") for name, value in letter.origin.original_headers]
    return why, [Output(letter.origin.topic, letter.key, letter.value, headers)]


def _of_source(
    letter: Letter, rules: Rules, later: LaterProfiles
) -> tuple[str | None, list[Output] | None]:
    """Return why a source's record would be rejected again, and its events."""
    if rules.sources is None:
        return f"from source {letter.origin.source!r}: give --sources SOURCES.toml", None
    found = rules.sources(letter, datetime.now(UTC))
    if isinstance(found, str):
        return found, None
    for each in found:
        if each.topic == PROFILES and later.is_later(each.key, letter.place.timestamp_ms):
            return "superseded: a later profile of its key is there", None
    return None, found


def _batches(due: Iterable[_Due]) -> Iterator[list[_Due]]:
    batch: list[_Due] = []
    size = 0
    for letter, outputs in due:
        batch.append((letter, outputs))
        size += sum(each.size for each in outputs)
        if len(batch) >= BATCH_LETTERS or size >= BATCH_BYTES:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def _publications(
    batch: Iterable[_Due], now: datetime, partitioning: Partitioning
) -> list[Publication]:
    """Return the records sent for each dead letter, with its marker."""
    publications = []
    for letter, outputs in batch:
        origin, place = letter.origin, letter.place
        key, value = mark(place, origin.topic, origin.reason, now)
        marked = Output(REPLAYS, key, value, [])
        for each in outputs:
            # Without a key, where it was.
            partition = origin.partition
            if each.key is not None:
                partition = int(partitioning.of_keys([each.key])[0])
            publications.append(Publication(partition, [serialize([each])]))
        publications.append(Publication(place.partition, [serialize([marked])]))
    return publications
