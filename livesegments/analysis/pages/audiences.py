"""The page of the audiences: whom to target, whom to keep, and what to offer."""

from collections.abc import Sequence
from typing import Any

import duckdb

from livesegments.analysis.pages.segments import Period
from livesegments.analysis.survey.context import DeploymentContext
from livesegments.analysis.survey.customers import CUSTOMERS, hashed
from livesegments.analysis.survey.purchases import PURCHASES
from livesegments.history.database import Row, rows
from livesegments.operations.export import LOCATIONS

SHOWN, TYPICAL = 20, 5
OFFERED = 1.1
"""Lift from which a segment prefers a category, and it is offered to customers without it."""
LEAST_EXPECTED = 5.0
"""Expected purchases below which a share is chance, as in a chi-squared test."""

# Every category and segment, also those without a purchase. The lift is rounded here, so that the
# page and the lists draw the line at the same categories.
CELLS = f"""
SELECT category, segment, coalesce(n, 0) AS purchases, coalesce(c, 0) AS cents,
    CASE WHEN expected >= {LEAST_EXPECTED} THEN round(purchases / expected, 3) END AS lift,
    of_category
FROM (
    SELECT category, segment, n, c, sum(n) OVER (PARTITION BY category) AS of_category,
        sum(n) OVER (PARTITION BY segment) * of_category / sum(n) OVER () AS expected
    FROM (SELECT DISTINCT category FROM {PURCHASES} WHERE category IS NOT NULL)
    CROSS JOIN (SELECT unnest($segments) AS segment)
    LEFT JOIN (
        SELECT category, segment, sum(purchases) AS n, sum(cents) AS c
        FROM {PURCHASES} GROUP BY ALL
    ) USING (category, segment)
)
"""

_TARGETS = f"""
SELECT segment, count(*) AS customers, count(*) FILTER (marketing) AS consenting,
    count(*) FILTER (NOT marketing) AS refusing, count(*) FILTER (marketing IS NULL) AS unknown,
    sum(cents) / 100 AS spend, sum(purchases)::BIGINT AS purchases,
    coalesce(sum(cents) FILTER (marketing), 0) / 100 AS consenting_spend
FROM {CUSTOMERS} WHERE segment IS NOT NULL GROUP BY segment
"""
# The newest of the customer's arrivals in the segment, departures and erasures is a departure.
LEFT = f"""
SELECT c.*, left_on, origin FROM (
    SELECT customer_id, max_by(occurred_at, version)::DATE AS left_on,
        max_by(origin, version) AS origin
    FROM changes
    WHERE occurred_at >= make_timestamp($since_us)
        AND (previous = $valued OR segment = $valued OR origin = 'erasure')
    GROUP BY customer_id
    HAVING max_by(
        previous = $valued AND segment IS DISTINCT FROM $valued AND origin <> 'erasure', version
    )
) JOIN {CUSTOMERS} AS c USING (customer_id)
WHERE c.segment IS DISTINCT FROM $valued AND may_be_profiled
"""
LEAVING = f"SELECT * FROM {CUSTOMERS} WHERE leaves_on IS NOT NULL"
_TYPICAL = f"""
SELECT customer_id, segment, distance, purchases, greatest(cents, 0) / 100 AS spend, age, income,
    urbanicity
FROM {CUSTOMERS} WHERE segment = $segment
ORDER BY unknown_features, distance, customer_id LIMIT {TYPICAL}
"""


def audiences_page(
    connection: duckdb.DuckDBPyConnection,
    context: DeploymentContext,
    period: Period,
    order: Sequence[str],
) -> dict[str, Any]:
    """Return the page, from the tables of a survey and the changes; ``order`` is of the segments.

    Segments are named by id, None for none, and customers by a keyed hash.

    Returns
    -------
    ``targets``
        Consent to marketing and value of each segment, by falling spend: purchases and spend of
        all customers in the window, and spend of those with consent.
    ``retention``
        ``days`` of the period, and of the forecast. ``left`` are the first of the customers that
        left the most valuable segment in the period and did not come back: first those now in a
        segment that spends less, or in none, then by spend. ``leaving`` are those that leave it
        soon, unless they buy: by date, then by spend; ``margin`` is None on the centroid itself.
    ``categories``
        Purchases in the window by category, the most bought first, and segment. The lift is the
        share of the segment's purchases over that of all, None where fewer than 5 purchases would
        be expected.
    ``typical``
        Customers nearest to the centroid of their segment; fuller profiles first, since a distance
        over fewer features is shorter. Age is rounded to five years and income to two digits.
    """
    return {
        "targets": _targets(connection, order),
        "retention": _retention(connection, context, period),
        "categories": _categories(connection, order),
        "typical": _typical(connection, context, order),
    }


def _targets(connection: duckdb.DuckDBPyConnection, order: Sequence[str]) -> list[Row]:
    found = {row["segment"]: row for row in rows(connection, _TARGETS)}
    nobody: Row = dict.fromkeys(("customers", "consenting", "refusing", "unknown"), 0)
    nobody |= {"spend": 0.0, "purchases": 0, "consenting_spend": 0.0}
    return [found.get(each) or {"segment": each, **nobody} for each in order]


def _retention(
    connection: duckdb.DuckDBPyConnection, context: DeploymentContext, period: Period
) -> Row:
    ids, group = context.rules.segment_ids, context.rules.group_id
    valued = ids[context.valued]
    shown = "last_purchase, purchases, cents / 100 AS spend, marketing"
    more = "count(*) OVER () AS customers"
    left = rows(
        connection,
        f"SELECT customer_id, left_on, origin, segment, {shown}, {more} FROM ({LEFT})"
        " ORDER BY coalesce(segment IN (SELECT unnest($spending_more)), false), spend DESC,"
        f" customer_id LIMIT {SHOWN}",
        valued=valued,
        since_us=period.start_us,
        spending_more=context.spending_more,
    )
    leaving = rows(
        connection,
        "SELECT customer_id, leaves_on, leaves_for AS segment,"
        f" nullif(round(margin, 4), 'infinity'::DOUBLE) AS margin, {shown}, {more} FROM ({LEAVING})"
        f" ORDER BY leaves_on, spend DESC, customer_id LIMIT {SHOWN}",
    )
    return {
        "segment": valued,
        "days": len(period.steps),
        "left": [_anonymous(row, group) for row in left],
        "left_customers": left[0]["customers"] if left else 0,
        "leaving": [_anonymous(row, group) for row in leaving],
        "leaving_customers": leaving[0]["customers"] if leaving else 0,
    }


def _anonymous(row: Row, group_id: str) -> Row:
    """Return a row with the hash of the id, and dates as text."""
    kept = {name: value for name, value in row.items() if name not in ("customer_id", "customers")}
    for name in kept.keys() & {"left_on", "leaves_on", "last_purchase"}:
        kept[name] = kept[name] and kept[name].isoformat()
    return {"hash": hashed(row["customer_id"], group_id), **kept}


def _categories(connection: duckdb.DuckDBPyConnection, order: Sequence[str]) -> Row:
    [(purchases, without)] = connection.execute(
        "SELECT coalesce(sum(purchases), 0)::BIGINT,"
        f" coalesce(sum(purchases) FILTER (category IS NULL), 0)::BIGINT FROM {PURCHASES}"
    ).fetchall()
    cells = rows(
        connection,
        f"SELECT category, segment, purchases::BIGINT AS rows, cents / 100 AS spend, lift"
        f" FROM ({CELLS}) ORDER BY of_category DESC, category, list_position($segments, segment)",
        segments=list(order),
    )
    found: dict[str, dict[str, Row]] = {"rows": {}, "spend": {}, "lift": {}}
    for cell in cells:
        for name, by_category in found.items():
            by_category.setdefault(cell["category"], {})[cell["segment"]] = cell[name]
    return {"purchases": purchases, "without": without, **found}


def _typical(
    connection: duckdb.DuckDBPyConnection, context: DeploymentContext, order: Sequence[str]
) -> list[Row]:
    return [
        {
            "hash": hashed(each["customer_id"], context.rules.group_id),
            "segment": each["segment"],
            "distance": round(each["distance"], 4),
            "purchases": each["purchases"],
            "spend": round(each["spend"], 2),
            "age": None if each["age"] is None else float(5 * round(each["age"] / 5)),
            "income": None if each["income"] is None else float(f"{each['income']:.1e}"),
            "location": LOCATIONS.get(each["urbanicity"]),
        }
        for segment in order
        for each in rows(connection, _TYPICAL, segment=segment)
    ]
