"""Dead letters: read and select them, and predict the result of replaying them."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from kafka import TopicPartition
from kafka.consumer.fetcher import ConsumerRecord

from livesegments.consumers.log_reader import LogReader
from livesegments.contracts.dead_letter_replays import DeadLetterReplay, Place
from livesegments.contracts.dead_letters import DeadLetter, Reason, parse
from livesegments.contracts.decode import decoder
from livesegments.contracts.partitioning import Partitioning
from livesegments.contracts.topics import DEAD_LETTERS, INPUTS, PROFILES, REPLAYS
from livesegments.operations.topics import partition_counts


class DeadLettersError(RuntimeError):
    """Dead letters cannot be read or replayed; the message states the reason and the remedy."""


@dataclass(frozen=True, slots=True)
class Letter:
    """A dead letter: its position, the original record, and the time of its replay, if any."""

    place: Place
    key: bytes | None
    value: bytes | None
    origin: DeadLetter
    replayed_at: datetime | None

    @property
    def refused_at(self) -> datetime:
        """Time of the rejection."""
        return datetime.fromtimestamp(self.place.timestamp_ms / 1000, UTC)

    def partition(self, partitioning: Partitioning) -> int:
        """Return the partition to replay it to: its key's, or without a key where it was."""
        if self.key is None:
            return self.origin.partition
        return int(partitioning.of_keys([self.key])[0])


@dataclass(frozen=True, slots=True)
class Selection:
    """Filter for dead letters; None matches all."""

    reason: str | None = None
    topic: str | None = None
    since: datetime | None = None
    partition: int | None = None
    offset: int | None = None

    def takes(self, record: ConsumerRecord, origin: DeadLetter) -> bool:
        """Return whether a record of the dead-letter topic matches."""
        return (
            self.reason in (None, origin.reason)
            and self.topic in (None, origin.topic)
            and (self.since is None or record.timestamp >= self.since.timestamp() * 1000)
        )


def letters(config: Mapping[str, Any], selection: Selection) -> Iterator[Letter]:
    """Yield the current dead letters that match, by partition in offset order.

    Raises `DeadLettersError` if the topic does not exist, or has no such partition.
    """
    counts = partition_counts(config, (DEAD_LETTERS, REPLAYS))
    if not counts[DEAD_LETTERS]:
        raise DeadLettersError(f"topic {DEAD_LETTERS} does not exist: livesegments topics create")
    chosen = range(counts[DEAD_LETTERS])
    if selection.partition is not None and selection.partition not in chosen:
        raise DeadLettersError(
            f"{DEAD_LETTERS} has no partition {selection.partition}, but 0 to {chosen[-1]}"
        )
    with LogReader(config) as log:
        replayed = {
            mark.place: mark.replayed_at
            for mark in (
                DeadLetterReplay.model_validate_json(record.value)
                for record in _records(log, REPLAYS, range(counts[REPLAYS]))
                if record.value is not None
            )
        }
        partitions = chosen if selection.partition is None else [selection.partition]
        for record in _records(log, DEAD_LETTERS, partitions, selection.offset):
            try:
                origin = parse(record.headers)
            except ValueError:
                continue  # a record of another producer
            if selection.takes(record, origin):
                place = Place(record.partition, record.offset, record.timestamp)
                yield Letter(place, record.key, record.value, origin, replayed.get(place))


def refusal(
    letter: Letter, currency: str, now: datetime, *, consent_required: bool = False
) -> str | None:
    """Return the reason for which a record would be rejected if it arrived now; None if accepted.

    A record whose origin is not an input topic cannot be replayed at all. ``now`` is the timestamp
    that the broker would assign.
    """
    if letter.origin.source is not None:
        return f"from source {letter.origin.source!r}: dead-letters replay --sources SOURCES.toml"
    if letter.origin.topic not in INPUTS:
        return f"from topic {letter.origin.topic!r}, which is no input"
    decode = decoder(letter.origin.topic, currency, consent_required=consent_required)
    _, rejections = decode([letter.key], [letter.value], [int(now.timestamp() * 1000)])
    return f"{rejections[0].reason}: {rejections[0].message}" if rejections else None


def counted(letter: Letter, partitioning: Partitioning) -> str | None:
    """Return the reason not to replay what a rebuild has counted where it is; None if it has not.

    The partitioner is fixed, except by a rebuild, which applies all records again.
    """
    was_misplaced = letter.origin.reason == Reason.WRONG_PARTITION
    if not was_misplaced or letter.partition(partitioning) != letter.origin.partition:
        return None
    return (
        f"counted: {partitioning.partitioner} puts its key in the partition where it is, and the"
        " rebuild that changed PARTITIONER has counted it"
    )


class LaterProfiles:
    """Check for dead letters of profiles that would replace a later one if replayed.

    The last profile of a key counts. A partition of the topic is read on first use, up to its end
    at that time, so the records that a replay sends are not included.
    """

    def __init__(self, config: Mapping[str, Any], partitioning: Partitioning) -> None:
        self._config, self._partitioning = config, partitioning
        self._last: dict[int, dict[bytes | None, tuple[int, int]]] = {}

    def refusal(self, letter: Letter) -> str | None:
        """Return the reason not to replay a profile; None if it may be, and for other topics."""
        origin = letter.origin
        if origin.topic != PROFILES:
            return None
        partition = letter.partition(self._partitioning)
        offset, timestamp_ms = self._last_of(letter.key, partition)
        # Offsets of two partitions cannot be compared.
        is_later = (
            offset > origin.offset
            if partition == origin.partition
            else timestamp_ms > origin.timestamp_ms
        )
        return "superseded: a later profile of its key is there" if is_later else None

    def is_later(self, key: bytes | None, timestamp_ms: int) -> bool:
        """Return whether there is a profile of a key that arrived after a time."""
        partition = int(self._partitioning.of_keys([key or b""])[0])
        return self._last_of(key, partition)[1] > timestamp_ms

    def _last_of(self, key: bytes | None, partition: int) -> tuple[int, int]:
        """Return offset and timestamp of the last profile of a key, -1 without one."""
        if partition not in self._last:
            with LogReader(self._config) as log:
                self._last[partition] = {
                    record.key: (record.offset, record.timestamp)
                    for record in _records(log, PROFILES, [partition])
                }
        return self._last[partition].get(key, (-1, -1))


def _records(
    log: LogReader, topic: str, partitions: range | list[int], offset: int | None = None
) -> Iterator[ConsumerRecord]:
    for tp in (TopicPartition(topic, partition) for partition in partitions):
        start, end = log.starts([tp])[tp], log.ends([tp])[tp]
        if offset is not None:
            start, end = max(start, offset), min(end, offset + 1)
        for batch in log.read({tp: (start, end)}):
            yield from batch[tp]
