"""The page of the data: what arrives, what is refused, and what is not known."""

from dataclasses import asdict
from typing import Any

import duckdb

from livesegments.analysis.pages.audiences import Row, rows
from livesegments.analysis.survey.run import Survey

EXAMPLES = 3

_REFUSED = """
SELECT reason, count(*) AS records, count(replayed_at) AS replayed
FROM dead_letters AS d LEFT JOIN (
    SELECT "partition", "offset", timestamp_ms, max(replayed_at) AS replayed_at
    FROM dead_letter_replays GROUP BY ALL
) AS r USING ("partition", "offset", timestamp_ms)
GROUP BY reason ORDER BY records DESC, reason
"""
_EXAMPLES = f"""
SELECT reason, topic, source, topic_partition, topic_offset, refused_at, message
FROM dead_letters
QUALIFY row_number() OVER (PARTITION BY reason ORDER BY refused_at DESC, "offset" DESC)
    <= {EXAMPLES}
ORDER BY refused_at DESC, "offset" DESC
"""


def quality(connection: duckdb.DuckDBPyConnection, survey: Survey) -> dict[str, Any]:
    """Return the quality of the data.

    ``unknown`` is the share of the customers in a segment without a feature; purchases, see
    `Arrivals`; ``dead_letters`` maps a reason to the records on the topic and the number of them
    sent again; ``implausible_ids`` are ids that no person can have, by their hash unless they are
    placeholders.
    """
    arrivals = survey.arrivals
    checked = survey.context.deployment.dedup_events
    return {
        "unknown": survey.unknown,
        "purchases": arrivals.purchases,
        "duplicates": arrivals.duplicates if checked else None,
        "late": arrivals.late,
        "dead_letters": {
            row["reason"]: (row["records"], row["replayed"]) for row in rows(connection, _REFUSED)
        },
        "behind": arrivals.behind,
        "implausible_ids": [asdict(each) for each in survey.implausible_ids],
    }


def refused_examples(connection: duckdb.DuckDBPyConnection) -> list[Row]:
    """Return the newest rejected records of each reason: their place and why, never values."""
    return rows(connection, _EXAMPLES)
