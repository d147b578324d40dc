"""Purchases that are valid beyond doubt, at a fraction of what the contract itself costs.

`events.Purchase` alone says what is valid. What is accepted here is a part of that, with the same
values, and all else is left to the contract to judge and to explain; a test holds the two against
each other. What msgspec is slow at, or does not check, is checked for many records at once.
"""

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from operator import attrgetter
from typing import Annotated, Any, Literal

import msgspec
import numpy as np
from msgspec import Meta

from livesegments.contracts import events, validation
from livesegments.contracts.dead_letters import Rejection
from livesegments.contracts.validation import Documents, Keys, Values

_Identifier = Annotated[str, Meta(min_length=1, max_length=128)]
_Number = Annotated[float, Meta(gt=0, le=1e10)]
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


_INSTANTS = _lines_of(events.INSTANT_PATTERN)
_DECIMALS = _lines_of(events.DECIMAL_PATTERN)
_CURRENCIES = _lines_of(events.CURRENCY_PATTERN)

_DIGITS_TO_ZERO = bytes.maketrans(b"123456789", b"000000000")
_PARTS = ((5, 1, 12), (8, 1, 31), (11, 0, 23), (14, 0, 59), (17, 0, 59))
"""Of an instant, (place, least, most): month, day, hour, minute, second."""
_OFFSET_PARTS = ((-6, 0, 23), (-3, 0, 59))
"""The same of its offset, from behind the line feed."""


class Purchase(msgspec.Struct, gc=False):
    """The fields of `events.Purchase`."""

    event_id: _Identifier
    customer_id: _Identifier
    occurred_at: str
    kind: Literal["purchase", "refund"]
    amount: _Number | _Decimal
    currency: str
    items: Annotated[int, Meta(ge=0)] | None = None
    category: _Text | None = None
    channel: _Text | None = None


_FIELDS = Purchase.__struct_fields__
_REFUSALS = (msgspec.MsgspecError, ValueError, TypeError, RecursionError)
_decode = msgspec.json.Decoder(Purchase).decode


@dataclass(frozen=True, slots=True)
class Purchases(Documents):
    """Valid purchases and the ascending index `row` (n,) of each into its batch."""

    _columns: dict[str, list[Any]] = field(init=False, default_factory=dict, compare=False)

    def column(self, name: str) -> list[Any]:
        """Collect a field, once."""
        if name not in self._columns:
            self._columns[name] = list(map(attrgetter(name), self.documents))
        return self._columns[name]

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
        _are_identifiers(column("customer_id"))
        and _are_identifiers(column("event_id"))
        and _are_instants(column("occurred_at"))
        and _match(_CURRENCIES, set(column("currency")))
        and _match(_DECIMALS, [amount for amount in column("amount") if isinstance(amount, str)])
    )


def _are_instants(texts: Sequence[str]) -> bool:
    """Match many texts of one shape as a table of digits, and others one by one."""
    lines = "\n".join(texts) + "\n"
    if not lines.isascii() or not _match(_INSTANTS, texts[:1]):
        return False
    data = lines.encode()
    shape = data[: len(texts[0]) + 1].translate(_DIGITS_TO_ZERO)
    if data.translate(_DIGITS_TO_ZERO) != shape * len(texts):
        return _match(_INSTANTS, texts)
    digits = np.frombuffer(data, np.uint8).reshape(len(texts), len(shape)) & 0x0F
    # Where the first is an instant, digits in the same places can only make numbers out of range.
    has_offset = shape[-2:] != b"Z\n"
    for at, least, most in (*_PARTS, *(_OFFSET_PARTS if has_offset else ())):
        number = digits[:, at] * np.uint8(10) + digits[:, at + 1]
        if number.min() < least or number.max() > most:
            return False
    return True


def _is_utf8(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


def _are_identifiers(texts: Sequence[str]) -> bool:
    joined = "\n".join(texts)
    return joined.count("\n") == len(texts) - 1 and not _CONTROL.search(joined)


def _match(lines: re.Pattern[str], texts: Collection[str]) -> bool:
    joined = "".join([text + "\n" for text in texts])
    # No pattern allows a line feed, so as many lines as texts are the texts.
    return joined.count("\n") == len(texts) and lines.fullmatch(joined) is not None
