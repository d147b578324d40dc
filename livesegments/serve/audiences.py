"""Segments and their customers, from the history."""

import binascii
from base64 import b64decode, urlsafe_b64encode
from http import HTTPStatus
from typing import Any, Literal

from livesegments.contracts.segments import SegmentDefinition, encode
from livesegments.history.database import History
from livesegments.serve.problems import ProblemError

Consent = Literal["granted", "refused", "unknown"]
CONSENTS: dict[str, bool | None] = {"granted": True, "refused": False, "unknown": None}

_NEWEST = """
SELECT value FROM definitions WHERE generation = (SELECT max(generation) FROM definitions)
"""
_SIZES = "SELECT segment, marketing, count(*) FROM customers WHERE segment IS NOT NULL GROUP BY ALL"
_CUSTOMERS = """
SELECT
    customer_id, strftime(since, '%Y-%m-%dT%H:%M:%S.%fZ'), version, confidence, marketing
FROM customers
WHERE segment = ? AND customer_id > ? AND (NOT ? OR marketing IS NOT DISTINCT FROM ?)
ORDER BY customer_id LIMIT ?
"""


def segments(history: History) -> list[dict[str, Any]]:
    """Return the newest definition of each segment, with its customers by consent to marketing."""
    with history.cursor() as cursor:
        values = cursor.execute(_NEWEST).fetchall()
        sizes: dict[str, dict[bool | None, int]] = {}
        for segment, marketing, customers in cursor.execute(_SIZES).fetchall():
            sizes.setdefault(segment, {})[marketing] = customers
    total = sum(sum(each.values()) for each in sizes.values())
    found = []
    for (value,) in values:
        definition = SegmentDefinition.model_validate_json(value)
        of_it = sizes.get(definition.id, {})
        customers = sum(of_it.values())
        found.append(
            {
                "id": definition.id,
                "name": definition.name,
                "description": definition.description,
                "customers": customers,
                "share": round(customers / total, 6) if total else None,
                "consent": {name: of_it.get(said, 0) for name, said in CONSENTS.items()},
                "centroid": definition.centroid.model_dump(),
                "persona_distance": definition.persona_distance,
                "named_by": list(definition.named_by),
                "generation": definition.generation,
            }
        )
    return sorted(found, key=lambda each: str(each["id"]))


def customers_of(
    history: History, segment: str, consent: Consent | None, cursor: str, limit: int
) -> tuple[list[bytes], str | None]:
    """Return customers of a segment as JSON lines, by id, and the cursor of the next page.

    Raises `ProblemError` if there is no such segment, or the cursor is invalid.
    """
    after = _decoded(cursor)
    with history.cursor() as connection:
        known = connection.execute(
            "SELECT count(*) FROM definitions WHERE segment = ?", [segment]
        ).fetchall()
        if known == [(0,)]:
            raise ProblemError(HTTPStatus.NOT_FOUND, "no such segment: /api/v1/segments lists all")
        said = CONSENTS[consent] if consent else None
        rows = connection.execute(
            _CUSTOMERS, [segment, after, consent is not None, said, limit + 1]
        ).fetchall()
    following = _encoded(rows[limit - 1][0]) if len(rows) > limit else None
    lines = [
        {
            "customer_id": name,
            "since": since,
            "version": version,
            "confidence": confidence,
            "consent": {"marketing": marketing},
        }
        for name, since, version, confidence, marketing in rows[:limit]
    ]
    return [encode(line) + b"\n" for line in lines], following


def _encoded(customer_id: str) -> str:
    return urlsafe_b64encode(customer_id.encode()).decode().rstrip("=")


def _decoded(cursor: str) -> str:
    try:
        padded = cursor + "=" * (-len(cursor) % 4)
        return b64decode(padded, altchars=b"-_", validate=True).decode()
    except (binascii.Error, ValueError):
        raise ProblemError(
            HTTPStatus.BAD_REQUEST, "cursor: take it from the Link header of the page before"
        ) from None
