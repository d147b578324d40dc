"""Purchases that are valid beyond doubt, at a fraction of what the contract itself costs.

`events.Purchase` alone says what is valid. What is accepted here is a part of that, with the same
values, and all else is left to the contract to judge and to explain; a test holds the two against
each other. What msgspec is slow at, or does not check, is checked for many records at once.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import replace
from operator import attrgetter
from typing import Annotated, Any, Literal

import msgspec
import numpy as np
from msgspec import Meta

from contracts import events, validation
from contracts.dead_letters import Rejection
from contracts.validation import Documents, Keys, Values

_Identifier = Annotated[str, Meta(min_length=1, max_length=128)]
_Number = Annotated[float, Meta(gt=0, le=1e10)]
_Decimal = Annotated[str, Meta(max_length=events.MAX_DECIMAL)]
_Text = Annotated[str, Meta(max_length=128)]

_CONTROL = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f]")  # but for the line feeds that join
_MAX_BRACKETS = 100
"""In one document: the contract's parser stops at 200 levels."""


def _lines_of(pattern: str) -> re.Pattern[str]:
    return re.compile(f"(?:{pattern.removeprefix('^').removesuffix('$')}\\n)*")


_INSTANTS = _lines_of(events.INSTANT_PATTERN)
_DECIMALS = _lines_of(events.DECIMAL_PATTERN)
_CURRENCIES = _lines_of(events.CURRENCY_PATTERN)


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


class Purchases(Documents):
    """Valid purchases and the ascending index `row` (n,) of each into its batch."""

    __slots__ = ()

    def column(self, name: str) -> list[Any]:
        """Collect a field."""
        return list(map(attrgetter(name), self.documents))


def validate(keys: Keys, values: Values) -> tuple[Purchases, list[Rejection]]:
    """Parse and validate each record, with the result of `validation.validate`."""
    read = _read(values)
    rest = [row for row, purchase in enumerate(read) if purchase is None]
    sound = [purchase for purchase in read if purchase is not None]
    if rest:
        rows = [row for row, purchase in enumerate(read) if purchase is not None]
        doubtful = _doubtful([keys[row] for row in rows], [values[row] for row in rows], sound)
        rest = sorted([*rest, *(rows[row] for row in doubtful)])
    else:
        rest = _doubtful(keys, values, sound)
    if not rest:
        return Purchases(np.arange(len(sound)), sound), []
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


def _doubtful(keys: Keys, values: Values, purchases: Sequence[Purchase]) -> list[int]:
    """Return which of the purchases break a rule, by halving what breaks any."""
    if not purchases or _are_sound(keys, values, purchases):
        return []
    if len(purchases) == 1:
        return [0]
    half = len(purchases) // 2
    first = _doubtful(keys[:half], values[:half], purchases[:half])
    second = _doubtful(keys[half:], values[half:], purchases[half:])
    return first + [half + row for row in second]


def _are_sound(keys: Keys, values: Values, purchases: Sequence[Purchase]) -> bool:
    if not validation.within_bounds(keys, values):
        return False
    documents = b"\n".join(values)  # type: ignore[arg-type]
    brackets = documents.count(b"{") + documents.count(b"[")
    if brackets > _MAX_BRACKETS and brackets > len(purchases):
        nested = max(value.count(b"{") + value.count(b"[") for value in values if value)
        if nested > _MAX_BRACKETS:
            return False
    # msgspec skips fields that it does not know without decoding them.
    if not documents.isascii() and not _is_utf8(documents):
        return False
    decimals = [each.amount for each in purchases if isinstance(each.amount, str)]
    return (
        _are_identifiers([each.customer_id for each in purchases])
        and _are_identifiers([each.event_id for each in purchases])
        and _match(_INSTANTS, [each.occurred_at for each in purchases])
        and _match(_CURRENCIES, {each.currency for each in purchases})
        and _match(_DECIMALS, decimals)
    )


def _is_utf8(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


def _are_identifiers(texts: Sequence[str]) -> bool:
    joined = "\n".join(texts)
    return joined.count("\n") == len(texts) - 1 and not _CONTROL.search(joined)


def _match(lines: re.Pattern[str], texts: Iterable[str]) -> bool:
    # No pattern allows a line feed, so as many lines as texts are the texts.
    return lines.fullmatch("".join([text + "\n" for text in texts])) is not None
