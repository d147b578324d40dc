"""Survey of the purchases in the window: by customer and category, and their quality."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NotRequired

import duckdb
import numpy as np
from kafka import TopicPartition
from kafka.consumer.fetcher import ConsumerRecord
from pydantic import TypeAdapter
from typing_extensions import TypedDict

from livesegments.analysis.survey.context import DeploymentContext
from livesegments.analysis.survey.customers import insert
from livesegments.consumers.decoding import columns_of
from livesegments.consumers.log_reader import LogReader
from livesegments.contracts.decode import Purchases, decode_purchases
from livesegments.contracts.partitioning import hash_keys
from livesegments.contracts.timestamps import record_times_us
from livesegments.contracts.topics import PURCHASES as TOPIC
from livesegments.contracts.validation import FUTURE_TOLERANCE_US, without_mark
from livesegments.features.dedup import DedupWindow, fingerprints, hashes_of
from livesegments.store.partitions import Partitions

PURCHASES = "surveyed_purchases"
"""Table of the newest survey, see `livesegments/history/schema.sql`."""
MOST_CATEGORIES = 1_000
OTHERS = "(others)"
_READ = """
CREATE OR REPLACE TEMP TABLE read (
    customer_id VARCHAR, category VARCHAR, occurred_at TIMESTAMP, cents BIGINT
)
"""
# A purchase counts for the current segment of its customer.
_BY_CUSTOMER = f"""
CREATE OR REPLACE TABLE {{table}} AS
WITH counted AS (
    SELECT customer_id, segment, category, read.cents
    FROM read JOIN {{customers}} USING (customer_id)
    WHERE segment IS NOT NULL AND occurred_at >= counts_from
), bought_most AS (
    SELECT category FROM counted WHERE category IS NOT NULL
    GROUP BY category ORDER BY count(*) DESC, category LIMIT {MOST_CATEGORIES}
)
SELECT customer_id, segment,
    CASE WHEN category IS NULL OR category IN (FROM bought_most) THEN category
        ELSE '{OTHERS}' END AS category,
    count(*) AS purchases, sum(cents)::BIGINT AS cents
FROM counted GROUP BY ALL
"""


class _Categorized(TypedDict):
    category: NotRequired[str | None]


_CATEGORY: TypeAdapter[_Categorized] = TypeAdapter(_Categorized)


@dataclass(slots=True)
class Arrivals:
    """Purchases that arrived since the window began.

    Valid ones without repeats; repeats of an `event_id`, where the deployment checks for them;
    those older than the window on arrival, which never count; those not processed yet.
    """

    purchases: int = 0
    duplicates: int = 0
    late: int = 0
    behind: int = 0


def survey_purchases(
    connection: duckdb.DuckDBPyConnection,
    table: str,
    customers: str,
    context: DeploymentContext,
    store: Partitions,
    log: LogReader,
    progress: Callable[[int], None],
) -> Arrivals:
    """Read the processed purchases of every partition's window.

    Makes a table like `PURCHASES`, by customer, segment and category, of the customers in another
    table. Categories beyond the thousand bought most are one.
    """
    connection.execute(_READ)
    layout, arrivals, total = context.rules.layout, Arrivals(), 0
    for partition, checkpoint in enumerate(store.checkpoints(range(context.deployment.partitions))):
        if checkpoint is None:
            continue
        first_us = layout.end(layout.tile(checkpoint.clock_us) - layout.tiles)
        tp = TopicPartition(TOPIC, partition)
        # A purchase dated later than this after its arrival is rejected.
        start = log.since(tp, first_us - FUTURE_TOLERANCE_US)
        arrivals.behind += max(log.ends([tp])[tp] - checkpoint.purchases, 0)
        reader = _PartitionReader(context, arrivals)
        for batch in log.read({tp: (start, checkpoint.purchases)}):
            found = reader.take(batch[tp])
            _insert(
                connection,
                found.where((found.occurred_at >= first_us) & (found.count > 0)),
                batch[tp],
            )
            total += len(batch[tp])
            progress(total)
    connection.execute(_BY_CUSTOMER.format(table=table, customers=customers))
    connection.execute("DROP TABLE read")
    return arrivals


def _insert(
    connection: duckdb.DuckDBPyConnection, found: Purchases, records: Sequence[ConsumerRecord]
) -> None:
    values = [without_mark(records[row].value) for row in found.row.tolist()]
    names = [_CATEGORY.validate_json(value).get("category") for value in values]
    columns = {
        "customer_id": np.array(found.customer_id, object),
        "category": np.array([(name or "").strip() or None for name in names], object),
        "occurred_at": found.occurred_at.astype("M8[us]"),
        "cents": found.cents,
    }
    insert(connection, "read", columns)


class _PartitionReader:
    """Purchases of one partition in their order, to count repeats and late ones."""

    def __init__(self, context: DeploymentContext, arrivals: Arrivals) -> None:
        self._rules, self._arrivals = context.rules, arrivals
        size = context.deployment.dedup_events
        self._seen = DedupWindow(size) if size else None
        self._clock_us = 0

    def take(self, records: Sequence[ConsumerRecord]) -> Purchases:
        """Count purchases in their order; return the valid ones without repeats."""
        found, _ = decode_purchases(*columns_of(records), currency=self._rules.currency)
        if self._seen is not None:
            keys = hash_keys([name.encode() for name in found.customer_id], "murmur2")
            hashes = fingerprints(
                hashes_of(found.event_id), keys, found.occurred_at, found.cents, found.count
            )
            self._seen, again, _ = self._seen.after(hashes)
            self._arrivals.duplicates += int(again.sum())
            found = found.where(~again)
        self._arrivals.purchases += len(found.row)
        came_us = found.occurred_at
        if not self._rules.event_clock:
            came_us = record_times_us([records[row].timestamp for row in found.row.tolist()])
        clock_us = np.maximum.accumulate(np.append(self._clock_us, came_us))
        self._clock_us = int(clock_us[-1])
        layout = self._rules.layout
        behind = layout.tile_of(clock_us[1:]) - layout.tile_of(found.occurred_at)
        self._arrivals.late += int(np.count_nonzero(behind >= layout.tiles))
        return found
