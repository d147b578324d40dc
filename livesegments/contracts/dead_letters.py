"""Records that can never be processed: why, and how they travel on the dead-letter topic.

A dead letter has the key and value of its record, byte for byte, and the record's own headers
followed by ours. What could succeed on another attempt never becomes one. A record that is too
large to travel at all (compressed, it came in small) is cut to what still fits.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

Headers = Sequence[tuple[str, bytes | None]]


class Reason(StrEnum):
    """Reason for the permanent rejection of a record.

    Each is a function of the record, its timestamp and its partition, so a replay refuses the same
    ones. They are checked in this order, and the first that applies is given.
    """

    TOO_LARGE = "too_large"
    NULL_VALUE = "null_value"
    NOT_JSON = "not_json"
    SCHEMA_INVALID = "schema_invalid"
    KEY_MISMATCH = "key_mismatch"
    BAD_CURRENCY = "bad_currency"
    CONSENT_MISSING = "consent_missing"
    TOO_OLD = "too_old"
    FUTURE_DATED = "future_dated"
    WRONG_PARTITION = "wrong_partition"
    UNDECODABLE = "undecodable"
    """Of a source, whose format it does not have; only `livesegments ingest` finds this."""
    QUERY_FAILED = "query_failed"
    """Of a source, whose query fails on it."""


@dataclass(frozen=True, slots=True)
class Rejection:
    """Record `row` of a batch is refused; `message` names fields and limits, never values."""

    row: int
    reason: Reason
    message: str


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """Origin of a dead letter, its reason, and the original headers of its record."""

    topic: str
    partition: int
    offset: int
    timestamp_ms: int
    reason: str
    message: str
    original_headers: list[tuple[str, bytes | None]]
    source: str | None = None
    """Name of the source whose topic it is from; None if it is from an input."""


MAX_RECORD_BYTES = 1_048_576
"""Key, value and headers of the largest record whose dead letter has all of them."""

HEADER_BYTES = 10
"""Of a header beside its name and its value, at most: what says how long they are."""

CUT_BYTES = 65_536
"""What is kept of the key and the value of a larger one, whose headers are left out."""

TOPIC = "livesegments-original-topic"
PARTITION = "livesegments-original-partition"
OFFSET = "livesegments-original-offset"
TIMESTAMP = "livesegments-original-timestamp"
REASON = "livesegments-reason"
MESSAGE = "livesegments-message"
SOURCE = "livesegments-source"


def headers(
    original: Headers,
    *,
    topic: str,
    partition: int,
    offset: int,
    timestamp_ms: int,
    reason: Reason,
    message: str,
) -> list[tuple[str, bytes | None]]:
    """Headers of the dead letter of one record: those it had, then where it was and why."""
    return [
        *original,
        (TOPIC, topic.encode()),
        (PARTITION, b"%d" % partition),
        (OFFSET, b"%d" % offset),
        (TIMESTAMP, b"%d" % timestamp_ms),
        (REASON, reason.encode()),
        (MESSAGE, message.encode()),
    ]


def fitting(
    key: bytes | None, value: bytes | None, original: Headers
) -> tuple[bytes | None, bytes | None, Headers]:
    """Return key, value and headers of a record as its dead letter has them: whole, if they fit."""
    size = len(key or b"") + len(value or b"")
    size += sum(len(name.encode()) + len(each or b"") + HEADER_BYTES for name, each in original)
    if size <= MAX_RECORD_BYTES:
        return key, value, original
    return key and key[:CUT_BYTES], value and value[:CUT_BYTES], ()


def parse(dead_letter_headers: Headers) -> DeadLetter:
    """Read back what `headers` wrote, whatever headers of the publisher follow.

    The last block counts: the headers before it are the record's own and may hold an older block,
    if the record was replayed and refused again.

    Raises
    ------
    ValueError
        The headers are not those of a dead letter.
    """
    names = [name for name, _ in dead_letter_headers]
    try:
        start = len(names) - 1 - names[::-1].index(TOPIC)
        ours = {name: (value or b"").decode() for name, value in dead_letter_headers[start:]}
        return DeadLetter(
            topic=ours[TOPIC],
            partition=int(ours[PARTITION]),
            offset=int(ours[OFFSET]),
            timestamp_ms=int(ours[TIMESTAMP]),
            reason=ours[REASON],
            message=ours[MESSAGE],
            original_headers=list(dead_letter_headers[:start]),
            source=ours.get(SOURCE),
        )
    except (ValueError, KeyError) as error:
        raise ValueError("not a dead letter: its livesegments headers are missing") from error
