"""Changes of segment from the history, newest first."""

from collections.abc import Mapping
from datetime import UTC
from typing import Any

import duckdb

from livesegments.contracts.segments import SegmentChange
from livesegments.history.database import Row, rows

_COLUMNS = '* EXCLUDE ("partition", published_at, customer_key)'
_LATEST = f'SELECT {_COLUMNS} FROM changes ORDER BY published_at DESC, "offset" DESC LIMIT $most'
_OF_CUSTOMER = f"""
SELECT {_COLUMNS} FROM changes
WHERE customer_key = md5_number_lower($customer) AND customer_id = $customer
    AND occurred_at >= make_timestamp($since_us)
ORDER BY version DESC LIMIT $most
"""


def latest_changes(
    connection: duckdb.DuckDBPyConnection, names: Mapping[str, str], most: int
) -> list[SegmentChange]:
    """Return the newest changes; ``names`` maps ids of segments to their names."""
    return [_change(row, names) for row in rows(connection, _LATEST, most=most)]


def changes_of(
    connection: duckdb.DuckDBPyConnection,
    names: Mapping[str, str],
    customer_id: str,
    most: int,
    since_us: int = 0,
) -> list[SegmentChange]:
    """Return the newest changes of a customer since a time; earlier ones precede an erasure."""
    values = {"customer": customer_id, "most": most, "since_us": since_us}
    return [_change(row, names) for row in rows(connection, _OF_CUSTOMER, **values)]


def _change(row: Row, names: Mapping[str, str]) -> SegmentChange:
    def ref(segment: str | None) -> dict[str, str] | None:
        return None if segment is None else {"id": segment, "name": names.get(segment, segment)}

    fields: dict[str, Any] = row | {
        "previous_segment": ref(row["previous"]),
        "segment": ref(row["segment"]),
        "runner_up": ref(row["runner_up"]),
        "occurred_at": row["occurred_at"].replace(tzinfo=UTC),
        "decided_at": row["decided_at"].replace(tzinfo=UTC),
        "cause": None,  # not in the history
        "model": {"generation": row["generation"], "version": row["model_version"]},
        "consent": {"marketing": row["marketing"]},
    }
    return SegmentChange.model_validate(fields)
