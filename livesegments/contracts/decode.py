"""Whole batches of records of one topic to columns, for the arrays inside."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from decimal import ROUND_HALF_EVEN, Decimal
from functools import partial
from itertools import compress
from typing import Any, Self, TypeAlias

import numpy as np
from numpy.typing import NDArray

from livesegments.contracts import (
    events,
    partial_profiles,
    refusal_messages,
    timestamps,
    validation,
)
from livesegments.contracts.dead_letters import Reason, Rejection
from livesegments.contracts.topics import ERASURES, PROFILES, PURCHASES
from livesegments.contracts.validation import Documents, Fault, Keys, RefusedError, Values

_URBANICITY = {None: np.nan, "rural": 0.0, "suburban": 0.5, "urban": 1.0}
_CONSENT = {None: -1, False: 0, True: 1}
_ACTION = {"erase": 0, "suppress": 1, "restore": 2}
_MAX_AGE = 130
_CENT = Decimal("0.01")


@dataclass(frozen=True, slots=True)
class Columns:
    """Valid records of a batch, n of them, as columns; `row` (n,) ascending index into the batch.

    Times are microseconds since the epoch.
    """

    row: NDArray[np.int64]
    customer_id: list[str]

    def where(self, kept: NDArray[np.bool_]) -> Self:
        """Return those that are kept, by a flag each."""
        parts: dict[str, Any] = {each.name: getattr(self, each.name) for each in fields(self)}
        for name, part in parts.items():
            parts[name] = list(compress(part, kept)) if isinstance(part, list) else part[kept]
        return type(self)(**parts)


@dataclass(frozen=True, slots=True)
class Purchases(Columns):
    """Purchases: `cents` (n,) negative for a refund; `count` (n,) 1 for a purchase, else 0."""

    event_id: list[str]
    occurred_at: NDArray[np.int64]
    cents: NDArray[np.int64]
    count: NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Profiles(Columns):
    """Profiles: `age` in years, `income`, `urbanicity` (rural 0, suburban 0.5, urban 1).

    Each is (n,) with NaN for unknown; the consents `marketing` and `profiling` (n,) are 1 yes, 0
    no, -1 unknown. `deleted` (n,) where the value was null, and all else is unknown.
    """

    updated_at: NDArray[np.int64]
    deleted: NDArray[np.bool_]
    age: NDArray[np.float64]
    income: NDArray[np.float64]
    urbanicity: NDArray[np.float64]
    marketing: NDArray[np.int8]
    profiling: NDArray[np.int8]


@dataclass(frozen=True, slots=True)
class Erasures(Columns):
    """Erasures: `action` (n,) 0 erase, 1 suppress, 2 restore."""

    request_id: list[str]
    requested_at: NDArray[np.int64]
    action: NDArray[np.int8]


def decode_purchases(
    keys: Keys, values: Values, timestamps_ms: Sequence[int], *, currency: str
) -> tuple[Purchases, list[Rejection]]:
    """Decode records of the purchases topic.

    Parameters
    ----------
    keys, values
        (m,) as on the topic.
    timestamps_ms
        (m,) broker timestamps, milliseconds since the epoch; 0 or less means none, and then
        nothing is future-dated.
    currency
        The code that every purchase must have.

    Returns
    -------
    The n valid purchases, and one rejection for each of the m - n others, by ascending row.
    """
    valid, unread = validation.validate_purchases(keys, values)
    occurred_at = valid.occurred_at()
    came_us = timestamps.record_times_us(timestamps_ms)[valid.row]
    valid, kept, refused = valid.sift(
        [
            validation.no_such_date("occurred_at", occurred_at),
            validation.key_mismatch(valid, keys),
            _bad_currency(valid.column("currency"), currency),
            *validation.out_of_time("occurred_at", occurred_at, came_us),
        ]
    )
    cents = _cents(valid.column("amount"))
    kinds = valid.column("kind")
    bought = np.ones(len(kinds), dtype=bool)
    if "refund" in kinds:
        bought = np.array([kind != "refund" for kind in kinds], dtype=bool)
    purchases = Purchases(
        row=valid.row,
        customer_id=valid.column("customer_id"),
        event_id=valid.column("event_id"),
        occurred_at=occurred_at[kept],
        cents=np.where(bought, cents, -cents),
        count=bought.astype(np.int64),
    )
    return purchases, validation.in_order(unread, refused)


def decode_profiles(
    keys: Keys, values: Values, timestamps_ms: Sequence[int], *, consent_required: bool = False
) -> tuple[Profiles, list[Rejection]]:
    """Decode records of the profiles topic; parameters and result as in `decode_purchases`.

    A null value deletes the profile of its key; its time is the record's timestamp, 0 without one.
    With ``consent_required`` a profile must have both consents. A refused profile that states a
    consent counts as far as it can be read (`livesegments.contracts.partial_profiles`): it is in
    both results.
    """
    valid, unread = validation.validate(
        events.CUSTOMER_PROFILE, keys, values, read_null=_read_tombstone
    )
    deleted = np.array([values[row] is None for row in valid.row.tolist()], dtype=bool)
    came_us = timestamps.record_times_us(timestamps_ms)[valid.row]
    stated_us = timestamps.microseconds(valid.column("updated_at"))
    updated_at = np.where(deleted, came_us, stated_us)
    age = _age(valid.optional("age"), valid.optional("birth_year"), updated_at)
    valid, kept, refused = valid.sift(
        [
            validation.no_such_date("updated_at", updated_at),
            Fault(
                Reason.SCHEMA_INVALID,
                f"birth_year: must give an age from 0 to {_MAX_AGE} in the year of updated_at",
                (age < 0) | (age > _MAX_AGE),
            ),
            validation.key_mismatch(valid, keys),
            _consent_missing(valid, ~deleted & consent_required),
            *validation.out_of_time("updated_at", updated_at, came_us),
        ]
    )
    profiles = _profiles(valid, updated_at[kept], deleted[kept], age[kept])
    rejections = validation.in_order(unread, refused)
    if not rejections:
        return profiles, rejections
    partial, rejections = partial_profiles.read(
        keys, values, rejections, consent_required=consent_required
    )
    if len(partial.row):
        profiles = _merged(profiles, _partial(partial, timestamps_ms))
    return profiles, rejections


def decode_erasures(
    keys: Keys, values: Values, timestamps_ms: Sequence[int]
) -> tuple[Erasures, list[Rejection]]:
    """Decode records of the erasures topic; parameters and result as in `decode_purchases`."""
    valid, unread = validation.validate(events.ERASURE, keys, values)
    requested_at = timestamps.microseconds(valid.column("requested_at"))
    came_us = timestamps.record_times_us(timestamps_ms)[valid.row]
    valid, kept, refused = valid.sift(
        [
            validation.no_such_date("requested_at", requested_at),
            validation.key_mismatch(valid, keys),
            *validation.out_of_time("requested_at", requested_at, came_us),
        ]
    )
    erasures = Erasures(
        row=valid.row,
        customer_id=valid.column("customer_id"),
        request_id=valid.column("request_id"),
        requested_at=requested_at[kept],
        action=np.array([_ACTION[action] for action in valid.column("action")], np.int8),
    )
    return erasures, validation.in_order(unread, refused)


Decode: TypeAlias = Callable[[Keys, Values, Sequence[int]], tuple[Columns, list[Rejection]]]


def decoder(topic: str, currency: str, *, consent_required: bool) -> Decode:
    """Return the function that decodes records of an input topic in a deployment."""
    of_topics: dict[str, Decode] = {
        PURCHASES: partial(decode_purchases, currency=currency),
        PROFILES: partial(decode_profiles, consent_required=consent_required),
        ERASURES: decode_erasures,
    }
    return of_topics[topic]


def _profiles(
    valid: Documents,
    updated_at: NDArray[np.int64],
    deleted: NDArray[np.bool_],
    age: NDArray[np.float64],
) -> Profiles:
    consents = [consent or {} for consent in valid.optional("consent")]
    return Profiles(
        row=valid.row,
        customer_id=valid.column("customer_id"),
        updated_at=updated_at,
        deleted=deleted,
        age=age,
        income=np.array(valid.optional("income"), np.float64),
        urbanicity=np.array([_URBANICITY[place] for place in valid.optional("location")]),
        marketing=np.array([_CONSENT[each.get("marketing")] for each in consents], np.int8),
        profiling=np.array([_CONSENT[each.get("profiling")] for each in consents], np.int8),
    )


def _partial(read: Documents, timestamps_ms: Sequence[int]) -> Profiles:
    """Return the columns of partial profiles; a time that cannot be is the record's timestamp."""
    came_us = timestamps.record_times_us(timestamps_ms)[read.row]
    updated_at = timestamps.microseconds([time or "" for time in read.optional("updated_at")])
    faults = (
        validation.no_such_date("updated_at", updated_at),
        *validation.out_of_time("updated_at", updated_at, came_us),
    )
    wrong = np.logical_or.reduce([fault.where for fault in faults])
    updated_at = np.where(wrong, came_us, updated_at)
    age = _age(read.optional("age"), read.optional("birth_year"), updated_at)
    age[(age < 0) | (age > _MAX_AGE)] = np.nan
    return _profiles(read, updated_at, np.zeros(len(read.row), np.bool_), age)


def _merged(some: Profiles, others: Profiles) -> Profiles:
    """Return the profiles of both by ascending row."""
    order = np.argsort(np.concatenate([some.row, others.row]))
    names = [*some.customer_id, *others.customer_id]

    def column(name: str) -> Any:
        return np.concatenate([getattr(some, name), getattr(others, name)])[order]

    of_profiles = (each.name for each in fields(Profiles) if each.name != "customer_id")
    columns = {name: column(name) for name in of_profiles}
    return Profiles(customer_id=[names[at] for at in order.tolist()], **columns)


def _consent_missing(valid: Documents, asked: NDArray[np.bool_]) -> Fault:
    """Find profiles that lack a consent, where they are asked for it."""
    where = np.zeros(len(asked), np.bool_)
    if asked.any():
        stated = [consent or {} for consent in valid.optional("consent")]
        complete = [None not in map(each.get, partial_profiles.CONSENTS) for each in stated]
        where = asked & ~np.array(complete, np.bool_)
    why = (
        "consent: lacks marketing or profiling, and this deployment asks for both"
        ' (CONSENT=required); send the answers, like {"marketing": false, "profiling": true}'
    )
    return Fault(Reason.CONSENT_MISSING, why, where)


def _bad_currency(codes: list[str], currency: str) -> Fault:
    if codes.count(currency) == len(codes):
        where = np.zeros(len(codes), dtype=bool)
    else:
        where = np.array([code.upper() != currency for code in codes], dtype=bool)
    why = f"currency: is not {currency}, the one currency of this deployment; convert the amount"
    return Fault(Reason.BAD_CURRENCY, why, where)


def _cents(amounts: list[float | str]) -> NDArray[np.int64]:
    """Amounts (n,) in cents, rounded half to even as the decimals they are written as."""
    scaled = np.array(amounts, dtype=np.float64) * 100.0
    cents = np.rint(scaled)
    # Up to 1e12 cents, parsing and scaling are off by less than 3e-4: only near a half can the
    # nearest whole number of the product be another than that of the decimal.
    for row in np.flatnonzero(np.abs(scaled - cents) > 0.499).tolist():
        cents[row] = int(Decimal(str(amounts[row])).quantize(_CENT, ROUND_HALF_EVEN) * 100)
    return cents.astype(np.int64)


def _age(
    ages: list[float | None], birth_years: list[int | None], updated_at: NDArray[np.int64]
) -> NDArray[np.float64]:
    years = updated_at.view("datetime64[us]").astype("datetime64[Y]").astype(np.int64) + 1970
    known = np.array(ages, np.float64)
    return np.where(np.isnan(known), years - np.array(birth_years, np.float64), known)


def _read_tombstone(key: bytes | None) -> dict[str, Any]:
    if key is None:
        raise RefusedError(Reason.KEY_MISMATCH, refusal_messages.key(None))
    try:
        customer_id = events.CUSTOMER_ID.validator.validate_python(key.decode())
    except ValueError:  # of pydantic, or because it is not UTF-8
        raise RefusedError(
            Reason.SCHEMA_INVALID,
            "key: must be the customer_id in UTF-8, like 42; there is no customer of such an id",
        ) from None
    # Its time is that of the record; this one only fills the column.
    return {"customer_id": customer_id, "updated_at": "1970-01-01T00:00:00Z"}
