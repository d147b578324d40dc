"""Purchases that are valid beyond doubt, at a fraction of the cost of the contract itself.

`events.Purchase` alone defines validity. This module accepts a part of that, with the same
values, and leaves the rest to the contract; a test compares the two. Checks that msgspec lacks, or
is slow at, run over many records at once.
"""

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from operator import attrgetter
from typing import Annotated, Any, Literal

import msgspec
import numpy as np
from msgspec import Meta
from numpy.typing import NDArray

from livesegments.contracts import events, timestamps, validation
from livesegments.contracts.dead_letters import Rejection
from livesegments.contracts.refusal_messages import FLOAT_ID
from livesegments.contracts.validation import Documents, Keys, Values

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


class Purchase(msgspec.Struct, gc=False):
    """The fields of `events.Purchase` that something computes with."""

    event_id: _Identifier
    customer_id: _Identifier
    occurred_at: str
    amount: _Number | _Decimal
    currency: str
    kind: Literal["purchase", "refund"] | None = None
    category: _Text | None = None


_FIELDS = Purchase.__struct_fields__
_REFUSALS = (msgspec.MsgspecError, ValueError, TypeError, RecursionError)
_decode = msgspec.json.Decoder(Purchase).decode


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
        """Return the times in microseconds, (n,); `timestamps.NOT_A_TIME` for no such date."""
        if "microseconds" not in self._columns:
            self._columns["microseconds"] = timestamps.microseconds(self.column("occurred_at"))
        micros: NDArray[np.int64] = self._columns["microseconds"]
        return micros

    def part(self, at: slice) -> "Purchases":
        """Return some of them."""
        return Purchases(self.row[at], self.documents[at])


def validate(keys: Keys, values: Values) -> tuple[Purchases, list[Rejection]]:
    """Parse and validate each record, with the result of `validation.validate`."""
    read = _read(values)
    rest = [row for row, purchase in enumerate(read) if purchase is None]
    documents = [purchase for purchase in read if purchase is not None]
    sound = Purchases(np.arange(len(documents)), documents)
    if rest:
        rows = [row for row, purchase in enumerate(read) if purchase is not None]
        doubtful = _doubtful([keys[row] for row in rows], [values[row] for row in rows], sound)
        rest = sorted([*rest, *(rows[row] for row in doubtful)])
    else:
        rest = _doubtful(keys, values, sound)
    if not rest:
        return sound, []
    judged, rejections = validation.validate(
        events.PURCHASE, [keys[row] for row in rest], [values[row] for row in rest]
    )
    for row in rest:
        read[row] = None
    for row, document in zip(judged.row.tolist(), judged.documents, strict=True):
        read[rest[row]] = Purchase(*map(document.get, _FIELDS))
    kept = [row for row, purchase in enumerate(read) if purchase is not None]
    return (
        Purchases(np.array(kept, np.int64), [read[row] for row in kept]),
        [replace(each, row=rest[each.row]) for each in rejections],
    )


def _read(values: Values) -> list[Purchase | None]:
    try:
        return list(map(_decode, values))  # type: ignore[arg-type]
    except _REFUSALS:
        return [_read_one(value) for value in values]


def _read_one(value: bytes | None) -> Purchase | None:
    try:
        return _decode(value)  # type: ignore[arg-type]
    except _REFUSALS:
        return None


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
    if not validation.within_bounds(keys, values):
        return False
    documents = b"\n".join(values)  # type: ignore[arg-type]
    brackets = documents.count(b"{") + documents.count(b"[")
    if brackets > _MAX_BRACKETS and brackets > len(purchases.row):
        nested = max(value.count(b"{") + value.count(b"[") for value in values if value)
        if nested > _MAX_BRACKETS:
            return False
    # msgspec skips fields that it does not know without decoding them.
    if not documents.isascii() and not _is_utf8(documents):
        return False
    if len(max(values, key=len)) > _MOST_DIGITS and _DIGITS.search(documents):  # type: ignore[arg-type]
        return False
    column = purchases.column
    return (
        _are_identifiers(purchases.lines("customer_id"), column("customer_id"))
        and _are_identifiers(purchases.lines("event_id"), column("event_id"))
        and not (purchases.occurred_at() == timestamps.NOT_A_TIME).any()
        and _match(_CURRENCIES, set(column("currency")))
        and _match(_DECIMALS, [amount for amount in column("amount") if isinstance(amount, str)])
    )


def _is_utf8(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


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
