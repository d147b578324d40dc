"""Fields that count of a rejected profile: its consent, and whatever else of it can be read.

A customer who withdraws a consent must not stay profiled because the record has a wrong income.
Such a record is a dead letter all the same. Both follow from the record alone, so a recovery and
the verifier come to the same.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from pydantic import ValidationError
from pydantic_core import from_json

from livesegments.contracts import events
from livesegments.contracts.dead_letters import Reason, Rejection
from livesegments.contracts.validation import Document, Documents, Keys, Values, without_mark

CONSENTS = ("marketing", "profiling")

_PARTIAL = {
    Reason.SCHEMA_INVALID,
    Reason.CONSENT_MISSING,
    Reason.TOO_OLD,
    Reason.FUTURE_DATED,
}
CONSENT_COUNTS = "; the consent in it counts all the same, and what is wrong counts as unknown"
_AGREEMENTS = (None, True, "true", "True", "yes")
"""Values that cannot be meant as a refusal."""


def read(
    keys: Keys, values: Values, rejections: Sequence[Rejection], *, consent_required: bool
) -> tuple[Documents, list[Rejection]]:
    """Read the refused profiles that state a consent.

    Parameters
    ----------
    keys, values
        (m,) as on the topic.
    rejections
        Those of the batch, by ascending row.
    consent_required
        Whether a profile must have both consents. One that lacks a consent then counts only if it
        refuses the other, and what it lacks counts as refused: it must not end a refusal.

    Returns
    -------
    What can be read of them, ``updated_at`` absent where it cannot be read, and all rejections.
    """
    rows: list[int] = []
    documents: list[Document] = []
    told: list[Rejection] = []
    for each in rejections:
        document = None
        value = values[each.row]
        if each.reason in _PARTIAL and value is not None:
            document = _readable(keys[each.row], value, consent_required)
        if document is not None:
            rows.append(each.row)
            documents.append(document)
            each = replace(each, message=each.message + CONSENT_COUNTS)
        told.append(each)
    return Documents(np.array(rows, np.int64), documents), told


def _readable(key: bytes | None, value: bytes, consent_required: bool) -> Document | None:
    try:
        found = from_json(without_mark(value))
    except ValueError:
        return None
    consent = _consent(found.get("consent"), consent_required) if isinstance(found, dict) else None
    if not consent:
        return None
    wrong = _wrong_fields(value)
    document = {
        name: each
        for name, each in found.items()
        if name in events.CustomerProfile.__annotations__ and name not in wrong
    }
    if "customer_id" not in document:
        return None
    document["customer_id"] = str(document["customer_id"])
    if document["customer_id"].encode() != key:
        return None
    return {**document, "consent": consent}


def _consent(found: Any, required: bool) -> dict[str, bool]:
    """Return the consents that can be read; none if they do not count.

    If one that cannot be read may be a refusal, all that are not stated count as refused: it must
    not end a refusal that it repeats.
    """
    stated: Mapping[str, Any] = found if isinstance(found, dict) else {}
    read = {name: stated[name] for name in CONSENTS if isinstance(stated.get(name), bool)}
    unreadable = [each for name, each in stated.items() if name not in read]
    if read and any(each not in _AGREEMENTS for each in unreadable):
        return dict.fromkeys(CONSENTS, False) | read
    if required and len(read) < len(CONSENTS):
        return dict.fromkeys(CONSENTS, False) if False in read.values() else {}
    return read


def _wrong_fields(value: bytes) -> set[str]:
    try:
        events.CUSTOMER_PROFILE.validate_json(without_mark(value))
    except ValidationError as error:
        return {str(each["loc"][0]) for each in error.errors(include_url=False) if each["loc"]}
    return set()
