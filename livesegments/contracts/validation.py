"""A batch of records sifted into valid documents and rejections.

Each record is parsed by itself; the checks after that compare whole columns, and go down to single
records only where a column differs. A record is judged the same whatever else is in its batch.
`livesegments.contracts.dead_letters.Reason` gives the order of the checks.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import compress
from typing import Any, NamedTuple, NoReturn, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import TypeAdapter, ValidationError

from livesegments.contracts.dead_letters import Reason, Rejection
from livesegments.contracts.record_times import record_times_us
from livesegments.contracts.refusal_messages import BYTE_ORDER_MARK, explain
from livesegments.contracts.refusal_messages import key as explain_key
from livesegments.contracts.timestamps import EXAMPLE, NOT_A_TIME

MAX_BYTES = 65_536
"""Longest key and longest value accepted."""
FUTURE_TOLERANCE_US = 5 * 60 * 1_000_000
"""How far an event may be ahead of the broker's timestamp of its record."""

_YEAR_9999_MS = 253_402_300_799_999

Keys = Sequence[bytes | None]
Values = Sequence[bytes | None]
Document = dict[str, Any]


class RefusedError(Exception):
    """One record cannot be read."""

    def __init__(self, reason: Reason, message: str) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message


class Fault(NamedTuple):
    """A check over a column: the documents `where` it fails (n,) are refused for `reason`.

    `message` is a sentence, or a function that makes one of a row of the batch.
    """

    reason: Reason
    message: str | Callable[[int], str]
    where: NDArray[np.bool_]

    def rejection(self, row: int) -> Rejection:
        """Refuse a row of the batch."""
        message = self.message if isinstance(self.message, str) else self.message(row)
        return Rejection(row, self.reason, message)


@dataclass(frozen=True, slots=True)
class Documents:
    """Valid documents and the ascending index `row` (n,) of each into its batch."""

    row: NDArray[np.int64]
    documents: list[Any]

    def column(self, name: str) -> list[Any]:
        """Collect a field that every document has."""
        return [document[name] for document in self.documents]

    def optional(self, name: str) -> list[Any]:
        """Collect a field that some documents have, None where it is absent."""
        return [document.get(name) for document in self.documents]

    def sift(self, faults: Iterable[Fault]) -> tuple[Self, NDArray[np.bool_], list[Rejection]]:
        """Drop documents at fault, each for the first of its faults.

        Returns the rest, the mask (n,) that leads to it, and the rejections.
        """
        kept = np.ones(len(self.documents), dtype=bool)
        rejections: list[Rejection] = []
        for fault in faults:
            rows = self.row[fault.where & kept].tolist()
            rejections += map(fault.rejection, rows)
            kept &= ~fault.where
        if not rejections:
            return self, kept, rejections
        rest = replace(self, row=self.row[kept], documents=list(compress(self.documents, kept)))
        return rest, kept, rejections


def refuse_null(_key: bytes | None) -> NoReturn:
    """Refuse a null value, on topics where it means nothing."""
    why = (
        "value: is null, which deletes nothing on this topic; to forget a customer send an erasure"
    )
    raise RefusedError(Reason.NULL_VALUE, why)


def validate(
    adapter: TypeAdapter[Any],
    keys: Keys,
    values: Values,
    *,
    read_null: Callable[[bytes | None], Document] = refuse_null,
) -> tuple[Documents, list[Rejection]]:
    """Parse and validate each record by itself; `read_null` makes documents of null values."""
    validate_json = adapter.validator.validate_json
    all_within = within_bounds(keys, values)
    documents: list[Document] = []
    rejections: list[Rejection] = []
    # Joining the batch into one JSON array would cost more and let records reach into each other.
    for row, (key, value) in enumerate(zip(keys, values, strict=True)):
        try:
            if all_within or _is_present(key, value):
                documents.append(validate_json(without_mark(value)))  # type: ignore[arg-type]
            else:
                documents.append(read_null(key))
        except ValidationError as error:
            deletes = read_null is not refuse_null
            rejections.append(Rejection(row, *explain(error, value or b"", deletes=deletes)))
        except RefusedError as refused:
            rejections.append(Rejection(row, refused.reason, refused.message))
    rows = np.delete(np.arange(len(values)), [rejection.row for rejection in rejections])
    return Documents(rows, documents), rejections


def within_bounds(keys: Keys, values: Values) -> bool:
    """Return whether no key and no value is null or too long."""
    try:
        longest = max(max(map(len, keys), default=0), max(map(len, values), default=0))  # type: ignore[arg-type]
    except TypeError:  # a null
        return False
    return longest <= MAX_BYTES


def without_mark(value: bytes) -> bytes:
    """Return a value without the byte order mark that some programs put in front of UTF-8."""
    return value.removeprefix(BYTE_ORDER_MARK)


def no_such_date(field: str, micros: NDArray[np.int64]) -> Fault:
    """Find times that are well-formed but name no day, or in UTC one after the year 9999."""
    where = (micros == NOT_A_TIME) | (micros > _YEAR_9999_MS * 1000 + 999)
    return Fault(Reason.SCHEMA_INVALID, f"{field}: is no date of the calendar", where)


def key_mismatch(valid: Documents, keys: Keys) -> Fault:
    """Find keys that are null or other than the customer's id."""
    customer_ids = valid.column("customer_id")
    own_keys = keys if len(keys) == len(customer_ids) else [keys[row] for row in valid.row.tolist()]
    if _all_equal(own_keys, customer_ids):
        where = np.zeros(len(customer_ids), dtype=bool)
    else:
        pairs = zip(own_keys, customer_ids, strict=True)
        where = np.array([key != customer_id.encode() for key, customer_id in pairs], dtype=bool)
    return Fault(Reason.KEY_MISMATCH, lambda row: explain_key(keys[row]), where)


def too_old(field: str, micros: NDArray[np.int64]) -> Fault:
    """Find times before the epoch."""
    why = f"{field}: is before 1970; send the time of the event, like {EXAMPLE}"
    return Fault(Reason.TOO_OLD, why, micros < 0)


def future_dated(field: str, micros: NDArray[np.int64], timestamps_us: NDArray[np.int64]) -> Fault:
    """Find times ahead of the record's own, where it has one."""
    where = (timestamps_us > 0) & (micros > timestamps_us + FUTURE_TOLERANCE_US)
    minutes = FUTURE_TOLERANCE_US // 60_000_000
    message = (
        f"{field}: is more than {minutes} minutes after the timestamp of the record; check the"
        " clock and the time zone of the producer"
    )
    return Fault(Reason.FUTURE_DATED, message, where)


def timestamps_us(valid: Documents, timestamps_ms: Sequence[int]) -> NDArray[np.int64]:
    """Return the times of the valid records in microseconds, 0 for none."""
    return record_times_us(np.asarray(timestamps_ms, dtype=np.int64)[valid.row])


def in_order(*rejections: list[Rejection]) -> list[Rejection]:
    """Merge rejections of one batch by row."""
    return sorted((one for some in rejections for one in some), key=lambda one: one.row)


def _is_present(key: bytes | None, value: bytes | None) -> bool:
    if max(len(key or b""), len(value or b"")) > MAX_BYTES:
        raise RefusedError(Reason.TOO_LARGE, f"key or value: is longer than {MAX_BYTES} bytes")
    return value is not None


def _all_equal(keys: Keys, customer_ids: list[str]) -> bool:
    # Identifiers hold no line feed, so equal joins of as many parts mean equal parts.
    try:
        return b"\n".join(keys) == "\n".join(customer_ids).encode()  # type: ignore[arg-type]
    except TypeError:  # a null
        return False
