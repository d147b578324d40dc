"""A history with changes, and a survey of customers made by hand."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any
from unittest.mock import sentinel

import duckdb
import numpy as np

from livesegments.analysis.survey.context import DeploymentContext
from livesegments.analysis.survey.customers import CustomerSurvey
from livesegments.features.record_codec import Records, empty
from livesegments.history.database import History, Identity
from livesegments.operations.customer_scan import CustomerBatch
from tests.consumers.harness import DAY, LAYOUT, RULES, SHAPE, model

CLOCK_TILE = 5_000
CLOCK_US = CLOCK_TILE * LAYOUT.tile_us + DAY
STANDING = DeploymentContext(sentinel.deployment, RULES, model(), statistics=None)


def customers(n: int, **fields: Any) -> Records:
    """Return customers who bought twice in the clock's tile, each for more than the one before."""
    records = empty(n, SHAPE)
    records["head"] = CLOCK_TILE
    records["counts"][:, CLOCK_TILE % LAYOUT.tiles] = 2
    records["cents"][:, CLOCK_TILE % LAYOUT.tiles] = 1_000 * np.arange(1, n + 1)
    for name, value in fields.items():
        records[name] = value
    return records


@contextmanager
def surveyed(
    records: Records,
    changes: Sequence[Mapping[str, Any]] = (),
    context: DeploymentContext = STANDING,
    *,
    horizon_days: int = 8,
) -> Iterator[duckdb.DuckDBPyConnection]:
    """Yield a cursor of a history with changes and the survey of customers c0, c1, …"""
    with History.temporary() as history:
        history.rebuild(Identity("livesegments", "", ""))
        names = [f"c{i}" for i in range(len(records))]
        nobody = np.zeros(len(records), np.int64)
        with history.transaction() as cursor:
            survey = CustomerSurvey(cursor, "scanned", context, horizon_days)
            survey.add(CustomerBatch(names, records, CLOCK_US, nobody))
            cursor.execute("INSERT INTO surveyed_customers FROM scanned")
            for version, change in enumerate(changes, 1):
                cursor.execute(
                    "INSERT INTO changes BY NAME SELECT 0 AS partition, $version AS offset,"
                    " make_timestamp($at) AS published_at, $customer AS customer_id,"
                    " md5_number_lower($customer) AS customer_key, 'reassigned' AS change,"
                    " $before AS previous, $after AS segment, make_timestamp($at) AS occurred_at,"
                    " make_timestamp($at) AS decided_at, $version AS version, $origin AS origin,"
                    " 1 AS generation, 1 AS model_version, [] AS explanation",
                    {"version": version, **change},
                )
        yield history.cursor()


def change(
    customer: str, at_us: int, before: str | None, after: str | None, origin: str = "live"
) -> dict[str, Any]:
    """Return the values of a change."""
    return {
        "customer": customer,
        "at": at_us,
        "before": before,
        "after": after,
        "origin": origin,
    }
