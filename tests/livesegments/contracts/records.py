"""Input records for the tests of the decoder."""

import json
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from livesegments.contracts.dead_letters import Rejection
from livesegments.contracts.decode import Purchases, decode_purchases

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
Record = tuple[bytes | None, bytes | None, int]
"""Key, value and broker timestamp in milliseconds."""

TIMESTAMP_MS = 1_772_000_000_000
"""Timestamp of every record here: 2026-02-25T06:13:20Z."""


def purchase(**changes: Any) -> dict[str, Any]:
    """A valid purchase with some fields changed; `...` drops one."""
    return _changed(
        {
            "event_id": "e-1",
            "customer_id": "c-1",
            "occurred_at": "2026-02-25T06:00:00Z",
            "kind": "purchase",
            "amount": 12.34,
            "currency": "USD",
        },
        changes,
    )


def profile(**changes: Any) -> dict[str, Any]:
    """A valid profile with some fields changed; `...` drops one."""
    return _changed({"customer_id": "c-1", "updated_at": "2026-02-25T06:00:00Z"}, changes)


def erasure(**changes: Any) -> dict[str, Any]:
    """A valid erasure with some fields changed; `...` drops one."""
    return _changed(
        {
            "request_id": "r-1",
            "customer_id": "c-1",
            "requested_at": "2026-02-25T06:00:00Z",
            "action": "erase",
        },
        changes,
    )


def dumped(event: Callable[..., dict[str, Any]], **changes: Any) -> bytes:
    """The JSON of a changed event."""
    return json.dumps(event(**changes)).encode()


def decoded(records: Sequence[Record]) -> tuple[Purchases, list[Rejection]]:
    """Purchases and rejections of a batch."""
    keys, values, timestamps_ms = zip(*records, strict=True) if records else ((), (), ())
    return decode_purchases(keys, values, timestamps_ms, currency="USD")


def accepted(value: bytes, key: bytes = b"c-1", timestamp_ms: int = TIMESTAMP_MS) -> Purchases:
    """The purchases of one record that must be valid."""
    purchases, rejections = decoded([(key, value, timestamp_ms)])
    assert rejections == []
    return purchases


def refused(
    value: bytes | None, key: bytes | None = b"c-1", timestamp_ms: int = TIMESTAMP_MS
) -> Rejection:
    """The rejection of one record that must be invalid."""
    purchases, rejections = decoded([(key, value, timestamp_ms)])
    assert len(purchases.row) == 0
    (rejection,) = rejections
    assert rejection.row == 0
    return rejection


def micros(instant: datetime) -> int:
    """Microseconds since the epoch."""
    return (instant - EPOCH) // timedelta(microseconds=1)


def _changed(event: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in (event | changes).items() if value is not ...}
