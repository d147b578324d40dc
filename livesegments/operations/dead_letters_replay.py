"""Replay dead letters to their original topics, each of them at most once.

Each record is sent in one transaction with a marker on a separate topic, so a replay that is killed
at any point leaves both or neither. A replay first takes over the transactional id, which aborts
the open transaction of another replay and fences it, and only then reads the markers.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime
from typing import Any

from livesegments.contracts.dead_letter_replays import mark
from livesegments.contracts.topics import INPUTS, PURCHASES, REPLAYS
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
from livesegments.producers.partitioning import Partitioner, Partitioning
from livesegments.producers.publisher import Publisher, PublishError
from livesegments.store.outbox import Output, Publication, serialize

TRANSACTIONAL_ID = "livesegments.dead-letter-replay"
"""Transactional id shared by all groups, since the topics are shared."""

BATCH_LETTERS = 500
BATCH_BYTES = 4 * 1024 * 1024


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


def rehearse(
    config: Mapping[str, Any],
    selection: Selection,
    currency: str,
    partitioner: Partitioner = "murmur2",
    *,
    refused_too: bool = False,
    consent_required: bool = False,
) -> Outcome:
    """Report what `replay` would do, without sending anything."""
    outcome = Outcome()
    partitioning = Partitioning(partitioner, partition_counts(config, INPUTS)[PURCHASES] or 1)
    due = _due(config, selection, currency, partitioning, refused_too, consent_required, outcome)
    for _ in due:
        pass
    return outcome


def replay(
    config: Mapping[str, Any],
    selection: Selection,
    currency: str,
    partitioner: Partitioner = "murmur2",
    *,
    refused_too: bool = False,
    consent_required: bool = False,
    progress: Callable[[int], None] = lambda _: None,
) -> Outcome:
    """Replay the selected dead letters with their key, value and headers, to their key's partition.

    Parameters
    ----------
    config
        Kafka client configuration.
    selection
        Filter for dead letters. Those already replayed are skipped.
    currency, partitioner
        The deployment's.
    refused_too
        Include records that would be rejected again, except superseded profiles.
    progress
        Called with the number of records after each transaction.

    Raises
    ------
    DeadLettersError
        If a topic is missing, or a transaction failed. Committed records and their markers stay,
        so another replay resumes after them.
    """
    counts = partition_counts(config, (*INPUTS, REPLAYS))
    missing = [name for name, count in counts.items() if not count]
    if missing:
        raise DeadLettersError(f"no topic {', '.join(missing)}: livesegments topics create")
    outcome = Outcome()
    partitioning = Partitioning(partitioner, counts[PURCHASES])
    publisher = Publisher(config, TRANSACTIONAL_ID)
    try:
        publisher.open()
        due = _due(
            config, selection, currency, partitioning, refused_too, consent_required, outcome
        )
        for batch in _batches(due):
            publisher.publish(_publications(batch, datetime.now(UTC), partitioning), None)
            progress(outcome.sent.total())
    except PublishError as error:
        raise DeadLettersError(
            f"not all were sent ({error}): replay again; those already sent are marked and skipped"
        ) from error
    finally:
        publisher.close()
    return outcome


def _due(
    config: Mapping[str, Any],
    selection: Selection,
    currency: str,
    partitioning: Partitioning,
    refused_too: bool,
    consent_required: bool,
    outcome: Outcome,
) -> Iterator[Letter]:
    """Yield the records to send, and count all outcomes."""
    later = LaterProfiles(config, partitioning)
    for letter in letters(config, selection):
        reason = letter.origin.reason
        if letter.replayed_at is not None:
            outcome.sent_before[reason] += 1
            continue
        superseded = later.refusal(letter) or counted(letter, partitioning)
        why = refusal(letter, currency, datetime.now(UTC), consent_required=consent_required)
        why = why or superseded
        if why is not None:
            outcome.refused_again[reason] += 1
            outcome.refusals[why] += 1
        may_be_sent = letter.origin.topic in INPUTS and superseded is None
        if why is None or (refused_too and may_be_sent):
            outcome.sent[reason] += 1
            yield letter


def _batches(due: Iterable[Letter]) -> Iterator[list[Letter]]:
    batch: list[Letter] = []
    size = 0
    for letter in due:
        batch.append(letter)
        size += len(letter.key or b"") + len(letter.value or b"")
        if len(batch) >= BATCH_LETTERS or size >= BATCH_BYTES:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def _publications(
    batch: Iterable[Letter], now: datetime, partitioning: Partitioning
) -> list[Publication]:
    """Return each original record with its marker."""
    publications = []
    for letter in batch:
        origin = letter.origin
        headers = [(name, value or b"") for name, value in origin.original_headers]
        again = Output(origin.topic, letter.key, letter.value, headers)
        key, value = mark(letter.place, origin.topic, origin.reason, now)
        marked = Output(REPLAYS, key, value, [])
        publications += [
            Publication(letter.partition(partitioning), [serialize([again])]),
            Publication(letter.place.partition, [serialize([marked])]),
        ]
    return publications
