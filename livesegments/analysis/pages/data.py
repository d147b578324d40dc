"""The page of the data: its quality, rejected records, and sources."""

from collections.abc import Generator, Mapping
from contextlib import ExitStack, closing
from dataclasses import asdict
from typing import Any

import duckdb
from kafka import KafkaConsumer

from livesegments.analysis.survey.run import Survey
from livesegments.consumers.log_reader import ends_of
from livesegments.history.database import Row, rows
from livesegments.operations.consumer_group import count_workers
from livesegments.store.deployment import Deployment
from livesegments.topic_prefix import open_admin, open_consumer, without_prefix

EXAMPLES = 3
_WAIT_MS = 5_000

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


def quality(
    connection: duckdb.DuckDBPyConnection, survey: Survey, deployment: Deployment
) -> dict[str, Any]:
    """Return the quality of the data.

    ``unknown`` is the share of the customers in a segment without a feature; purchases, see
    `Arrivals`; ``dead_letters`` maps a reason to the records on the topic and the number of them
    sent again; ``implausible_ids`` are ids that no person can have, by their hash unless they are
    placeholders.
    """
    arrivals = survey.arrivals
    return {
        "unknown": survey.unknown,
        "purchases": arrivals.purchases,
        "duplicates": arrivals.duplicates if deployment.dedup_events else None,
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


def poll_sources(config: Mapping[str, Any], group_id: str) -> Generator[dict[str, Any]]:
    """Yield the sources of ``livesegments ingest``, by their consumer groups, and their lag.

    A group is described without joining it.
    """
    config = without_prefix(config)
    prefix = f"{group_id}-ingest-"
    with ExitStack() as stack:
        admin = stack.enter_context(closing(open_admin(**config)))
        consumer = stack.enter_context(closing(open_consumer(KafkaConsumer, **config)))
        while True:
            groups = sorted(
                each["group_id"]
                for each in admin.list_groups()
                if each["group_id"].startswith(prefix)
            )
            sources = []
            for group in groups:
                found = admin.list_group_offsets({group: None})[group]
                ends = ends_of(consumer, list(found), _WAIT_MS)
                sources.append(
                    {
                        "name": group.removeprefix(prefix),
                        "workers": count_workers(admin, group),
                        "lag": sum(max(ends[tp] - each.offset, 0) for tp, each in found.items()),
                    }
                )
            yield {"sources": sources}
