"""Reader of a partition's published outputs, the source of truth for a recovery."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import structlog
from kafka import TopicPartition
from kafka.consumer.fetcher import ConsumerRecord

from livesegments.consumers.log_reader import LogReader
from livesegments.consumers.recovery.ownership import Committed
from livesegments.consumers.scoring import NONE
from livesegments.contracts.cloudevents import read_provenance
from livesegments.contracts.dead_letters import parse
from livesegments.contracts.segments import SegmentState, read
from livesegments.contracts.topics import CHANGES, DEAD_LETTERS, DEFINITIONS, STATES
from livesegments.store.deployment import UnknownSegmentError

log = structlog.get_logger()

UNASKED = -1


class Stated(NamedTuple):
    """Content of a customer's last state; -1 for no segment and for an unknown consent."""

    segment: int
    since_us: int
    version: int
    marketing: int


NOT_STATED = Stated(NONE, 0, 0, UNASKED)


@dataclass(frozen=True, slots=True)
class Changelog:
    """Published state of a partition.

    Attributes
    ----------
    states
        Customer id -> last state of each customer with a state.
    version
        The highest version of any output.
    dead_letters
        (topic, offset) of each record already published as a dead letter.
    """

    states: Mapping[str, Stated]
    version: int
    dead_letters: frozenset[tuple[str, int]]


def read_back(
    reader: LogReader,
    partition: int,
    segment_ids: Sequence[str],
    committed: Committed | None,
    keep_alive: Callable[[], None],
) -> Changelog:
    """Read a partition's compacted topic up to the high watermark.

    If Kafka's offsets are gone, the other outputs are read too: only they show the highest version
    and the records that are already dead letters.

    Raises
    ------
    UnknownSegmentError
        If a state has a segment that is not in ``segment_ids``.
    """
    states: dict[str, Stated] = {}
    version = 0
    for record in _records(reader, STATES, partition, keep_alive):
        version = max(version, _version(record))
        key = record.key.decode(errors="replace")  # another producer may write any bytes
        if record.value is None:
            states.pop(key, None)
        elif (state := read(SegmentState, record)) is not None:
            # Customers without a segment are kept too: their state may have to be deleted.
            states[key] = _stated(state, segment_ids)
        else:
            place = {"topic": STATES, "partition": partition, "offset": record.offset}
            log.warning("a record of another producer is left out", **place)
    if committed is not None:
        return Changelog(states, version, frozenset())
    for topic in (CHANGES, *((DEFINITIONS,) if partition == 0 else ())):
        for record in _records(reader, topic, partition, keep_alive):
            version = max(version, _version(record))
    letters: set[tuple[str, int]] = set()
    for record in _records(reader, DEAD_LETTERS, partition, keep_alive):
        try:
            letter = parse(record.headers)
        except ValueError:
            continue  # a record of another producer
        if letter.source is None:  # a source's has a version only if its record had one
            letters.add((letter.topic, letter.offset))
            version = max(version, _version(record))
    return Changelog(states, version, frozenset(letters))


def _stated(state: SegmentState, segment_ids: Sequence[str]) -> Stated:
    segment = state.segment.id if state.segment else None
    if segment is not None and segment not in segment_ids:
        raise UnknownSegmentError(segment, segment_ids)
    place = NONE if segment is None else segment_ids.index(segment)
    since_us = round(state.since.timestamp() * 1_000_000)
    said = state.consent.marketing
    marketing = UNASKED if said is None else int(said)
    return Stated(place, since_us, state.version, marketing)


def _records(
    reader: LogReader, topic: str, partition: int, keep_alive: Callable[[], None]
) -> Iterator[ConsumerRecord]:
    tp = TopicPartition(topic, partition)
    start, end = reader.starts([tp])[tp], reader.ends([tp])[tp]
    for batch in reader.read({tp: (start, end)}):
        keep_alive()
        yield from batch[tp]


def version_of_letter(record: ConsumerRecord) -> int:
    """Return the version of a worker's dead letter, 0 for that of a source or another producer."""
    try:
        letter = parse(record.headers)
    except ValueError:
        return 0
    return _version(record) if letter.source is None else 0


def _version(record: ConsumerRecord) -> int:
    line = read_provenance(record.headers)
    return line[1] if line else 0
