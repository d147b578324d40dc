"""A batch of records sifted into valid documents and rejections.

Each record is parsed by itself; the checks after that compare whole columns, and go down to single
records only where a column differs. A record is judged the same whatever else is in its batch.
`livesegments.contracts.dead_letters.Reason` gives the order of the checks.

`validate` judges by the contract alone (`livesegments.contracts.events`). `validate_purchases`
comes to the same at a fraction of the cost: msgspec decodes what is valid beyond doubt, with the
same values; checks that msgspec lacks, or is slow at, run over many records at once; and the rest
is left to `validate`. A test compares the two.
"""

import re
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain, compress
from operator import attrgetter
from typing import Annotated, Any, Literal, NamedTuple, NoReturn, Self

import msgspec
import numpy as np
from msgspec import Meta
from numpy.typing import NDArray
from pydantic import TypeAdapter, ValidationError

from livesegments.contracts import events
from livesegments.contracts.dead_letters import Reason, Rejection
from livesegments.contracts.refusal_messages import BYTE_ORDER_MARK, FLOAT_ID, explain
from livesegments.contracts.refusal_messages import key as explain_key
from livesegments.contracts.timestamps import EXAMPLE, NOT_A_TIME, microseconds

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


def no_such_date(name: str, micros: NDArray[np.int64]) -> Fault:
    """Find times that are well-formed but name no day, or in UTC one after the year 9999."""
    where = (micros == NOT_A_TIME) | (micros > _YEAR_9999_MS * 1000 + 999)
    return Fault(Reason.SCHEMA_INVALID, f"{name}: is no date of the calendar", where)


def key_mismatch(valid: Documents, keys: Keys) -> Fault:
    """Find keys that are null or other than the customer's id."""
    customer_ids = valid.column("customer_id")
    own_keys = keys if len(keys) == len(customer_ids) else [keys[row] for row in valid.row.tolist()]
    # Identifiers hold no line feed, so equal joins of as many parts mean equal parts.
    try:
        equal = b"\n".join(own_keys) == "\n".join(customer_ids).encode()  # type: ignore[arg-type]
    except TypeError:  # a null
        equal = False
    where = np.zeros(len(customer_ids), dtype=bool)
    if not equal:
        pairs = zip(own_keys, customer_ids, strict=True)
        where = np.array([key != customer_id.encode() for key, customer_id in pairs], dtype=bool)
    return Fault(Reason.KEY_MISMATCH, lambda row: explain_key(keys[row]), where)


def out_of_time(name: str, micros: NDArray[np.int64], came_us: NDArray[np.int64]) -> list[Fault]:
    """Find times before the epoch, and those ahead of the record's own time, where it has one."""
    minutes = FUTURE_TOLERANCE_US // 60_000_000
    return [
        Fault(
            Reason.TOO_OLD,
            f"{name}: is before 1970; send the time of the event, like {EXAMPLE}",
            micros < 0,
        ),
        Fault(
            Reason.FUTURE_DATED,
            f"{name}: is more than {minutes} minutes after the timestamp of the record; check the"
            " clock and the time zone of the producer",
            (came_us > 0) & (micros > came_us + FUTURE_TOLERANCE_US),
        ),
    ]


def in_order(*rejections: list[Rejection]) -> list[Rejection]:
    """Merge rejections of one batch by row."""
    return sorted(chain.from_iterable(rejections), key=attrgetter("row"))


def _is_present(key: bytes | None, value: bytes | None) -> bool:
    if max(len(key or b""), len(value or b"")) > MAX_BYTES:
        raise RefusedError(Reason.TOO_LARGE, f"key or value: is longer than {MAX_BYTES} bytes")
    return value is not None


# Longer numbers are left to the contract.
_Identifier = (
    Annotated[str, Meta(min_length=1, max_length=128)]
    | Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)]
)
_Number = Annotated[float, Meta(ge=0, le=1e10)]
_Decimal = Annotated[str, Meta(max_length=events.MAX_DECIMAL)]
_Text = Annotated[str, Meta(max_length=128)]

_CONTROL = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f]")  # but for the line feeds that join
_MAX_BRACKETS = 100
"""In one document: the contract's parser stops at 200 levels."""
_MOST_DIGITS = 4_000
"""In a row: the contract's parser takes no whole number of more than 4,300."""
_DIGITS = re.compile(b"[0-9]{%d}" % _MOST_DIGITS)


def _lines_of(pattern: str) -> re.Pattern[str]:
    return re.compile(f"(?:{pattern.removeprefix('^').removesuffix('$')}\\n)*")


_DECIMALS = _lines_of(events.DECIMAL_PATTERN)
_CURRENCIES = _lines_of(events.CURRENCY_PATTERN)


class _Purchase(msgspec.Struct, gc=False):
    """The fields of `events.Purchase` that something computes with."""

    event_id: _Identifier
    customer_id: _Identifier
    occurred_at: str
    amount: _Number | _Decimal
    currency: str
    kind: Literal["purchase", "refund"] | None = None
    category: _Text | None = None


_FIELDS = _Purchase.__struct_fields__
_REFUSALS = (msgspec.MsgspecError, ValueError, TypeError, RecursionError)
_decode = msgspec.json.Decoder(_Purchase).decode


@dataclass(frozen=True, slots=True)
class Purchases(Documents):
    """Valid purchases and the ascending index `row` (n,) of each into its batch."""

    _columns: dict[str, Any] = field(init=False, default_factory=dict, compare=False)

    def column(self, name: str) -> list[Any]:
        """Collect a field, once."""
        if name not in self._columns:
            self._columns[name] = list(map(attrgetter(name), self.documents))
        column: list[Any] = self._columns[name]
        return column

    def lines(self, name: str) -> str:
        """Join an identifier's column by line feeds; whole numbers become their digits."""
        try:
            return "\n".join(self.column(name))
        except TypeError:
            for each in self.documents:
                each.event_id, each.customer_id = str(each.event_id), str(each.customer_id)
            self._columns.clear()
            return "\n".join(self.column(name))

    def occurred_at(self) -> NDArray[np.int64]:
        """Return the times in microseconds, (n,); `NOT_A_TIME` for no such date."""
        if "microseconds" not in self._columns:
            self._columns["microseconds"] = microseconds(self.column("occurred_at"))
        micros: NDArray[np.int64] = self._columns["microseconds"]
        return micros

    def part(self, at: slice) -> "Purchases":
        """Return some of them."""
        return Purchases(self.row[at], self.documents[at])


def validate_purchases(keys: Keys, values: Values) -> tuple[Purchases, list[Rejection]]:
    """Parse and validate each purchase, with the result of `validate`."""
    read = _read(values)
    rows = [row for row, purchase in enumerate(read) if purchase is not None]
    sound = Purchases(np.array(rows, np.int64), [read[row] for row in rows])
    if len(rows) < len(read):
        keys_read, values_read = [keys[row] for row in rows], [values[row] for row in rows]
        doubtful = {rows[at] for at in _doubtful(keys_read, values_read, sound)}
    else:
        doubtful = set(_doubtful(keys, values, sound))
        if not doubtful:
            return sound, []
    rest = [row for row, each in enumerate(read) if each is None or row in doubtful]
    judged, rejections = validate(
        events.PURCHASE, [keys[row] for row in rest], [values[row] for row in rest]
    )
    for row in rest:
        read[row] = None
    for row, document in zip(judged.row.tolist(), judged.documents, strict=True):
        read[rest[row]] = _Purchase(*map(document.get, _FIELDS))
    kept = [row for row, purchase in enumerate(read) if purchase is not None]
    return (
        Purchases(np.array(kept, np.int64), [read[row] for row in kept]),
        [replace(each, row=rest[each.row]) for each in rejections],
    )


def _read(values: Values) -> list[_Purchase | None]:
    """Decode each purchase, None for what msgspec does not accept."""
    try:
        return list(map(_decode, values))  # type: ignore[arg-type]
    except _REFUSALS:
        return [None] if len(values) == 1 else [_read([value])[0] for value in values]


def _doubtful(keys: Keys, values: Values, purchases: Purchases) -> list[int]:
    """Return which of the purchases break a rule, by halving what breaks any."""
    n = len(purchases.row)
    if not n or _are_sound(keys, values, purchases):
        return []
    if n == 1:
        return [0]
    half = n // 2
    first = _doubtful(keys[:half], values[:half], purchases.part(slice(half)))
    second = _doubtful(keys[half:], values[half:], purchases.part(slice(half, None)))
    return first + [half + row for row in second]


def _are_sound(keys: Keys, values: Values, purchases: Purchases) -> bool:
    if not within_bounds(keys, values):
        return False
    documents = b"\n".join(values)  # type: ignore[arg-type]
    brackets = documents.count(b"{") + documents.count(b"[")
    if brackets > _MAX_BRACKETS and brackets > len(purchases.row):
        nested = max(value.count(b"{") + value.count(b"[") for value in values if value)
        if nested > _MAX_BRACKETS:
            return False
    # msgspec skips fields that it does not know without decoding them.
    if not documents.isascii():
        try:
            documents.decode()
        except UnicodeDecodeError:
            return False
    if len(max(values, key=len)) > _MOST_DIGITS and _DIGITS.search(documents):  # type: ignore[arg-type]
        return False
    column = purchases.column
    return (
        _are_identifiers(purchases.lines("customer_id"), column("customer_id"))
        and _are_identifiers(purchases.lines("event_id"), column("event_id"))
        and not (purchases.occurred_at() == NOT_A_TIME).any()
        and _match(_CURRENCIES, set(column("currency")))
        and _match(_DECIMALS, [amount for amount in column("amount") if isinstance(amount, str)])
    )


def _are_identifiers(joined: str, texts: Sequence[str]) -> bool:
    if joined.count("\n") != len(texts) - 1 or _CONTROL.search(joined):
        return False
    may_have_blanks = " " in joined or not joined.isascii()
    if may_have_blanks and any(text != text.strip() for text in texts):
        return False
    may_be_floats = ("." in joined and ".0" in joined) or "+" in joined
    return not (may_be_floats and any(map(FLOAT_ID, texts)))


def _match(lines: re.Pattern[str], texts: Collection[str]) -> bool:
    joined = "".join([text + "\n" for text in texts])
    # No pattern allows a line feed, so as many lines as texts are the texts.
    return joined.count("\n") == len(texts) and lines.fullmatch(joined) is not None
