"""Lists of customers with consent to marketing, by their real ids, as CSV."""

import csv
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import duckdb

from livesegments.analysis.pages.audiences import CELLS, LEAVING, LEFT, OFFERED
from livesegments.analysis.pages.segments import Period
from livesegments.analysis.survey.context import DeploymentContext
from livesegments.analysis.survey.customers import CUSTOMERS, hashed
from livesegments.analysis.survey.purchases import OTHERS, PURCHASES

_OWNER_ONLY = 0o600
_CHUNK = 10_000
_HEAD = ("customer_id", "hash", "segment", "purchases", "spend", "last_purchase")
_MORE = {"retention": ("status", "date", "to"), "cross-sell": ("category", "lift")}
_CUSTOMER = "customer_id, segment, purchases, format('{:.2f}', cents / 100) AS spend, last_purchase"
_TARGET = f"SELECT {_CUSTOMER} FROM {CUSTOMERS} WHERE segment = $segment"
_RETENTION = f"""
SELECT {_CUSTOMER}, 'left' AS status, left_on AS date, segment AS to FROM ({LEFT})
UNION ALL
SELECT {_CUSTOMER}, 'leaving', leaves_on, leaves_for FROM ({LEAVING})
"""
# For each customer the category with the highest lift that they have not bought.
_CROSS_SELL = f"""
SELECT {_CUSTOMER}, category, format('{{:.2f}}', lift) AS lift FROM (
    SELECT c.customer_id, max_by(liked.category, (liked.lift, liked.category)) AS category,
        max(liked.lift) AS lift
    FROM {CUSTOMERS} AS c
    JOIN (
        SELECT category, segment, lift FROM ({CELLS})
        WHERE lift >= {OFFERED} AND category <> '{OTHERS}'
    ) AS liked USING (segment)
    ANTI JOIN {PURCHASES} AS has
        ON has.customer_id = c.customer_id AND has.category = liked.category
    GROUP BY c.customer_id
) JOIN {CUSTOMERS} USING (customer_id)
"""


def list_names(segment_ids: Iterable[str]) -> list[str]:
    """Return the names of the lists of a deployment with these segments."""
    return [*(f"target-{each}" for each in segment_ids), *_MORE]


class Lists:
    """The lists of a surveyed deployment, with those who left its best segment in a period.

    ``consents`` is the table with the consent of each customer: the survey's, or a newer one.
    """

    def __init__(
        self,
        connection: duckdb.DuckDBPyConnection,
        context: DeploymentContext,
        period: Period,
        consents: str = CUSTOMERS,
    ) -> None:
        self._connection, self._consents = connection, consents
        self._group, ids = context.rules.group_id, context.rules.segment_ids
        retention = {"valued": ids[context.valued], "since_us": period.start_us}
        self._queries: dict[str, tuple[str, dict[str, Any]]] = {
            **{f"target-{each}": (_TARGET, {"segment": each}) for each in ids},
            "retention": (_RETENTION, retention),
            "cross-sell": (_CROSS_SELL, {"segments": list(ids)}),
        }

    def rows(self, name: str) -> Iterator[Sequence[Any]]:
        """Yield the header of a list, then its rows.

        Raises `KeyError` if there is no such list.
        """
        sql, values = self._queries[name]
        yield [*_HEAD, *_MORE.get(name, ())]
        found = self._connection.execute(
            f"SELECT * FROM ({sql}) WHERE customer_id IN"
            f" (SELECT customer_id FROM {self._consents} WHERE marketing)",
            values,
        )
        while chunk := found.fetchmany(_CHUNK):
            for customer_id, *more in chunk:
                yield [customer_id, hashed(customer_id, self._group), *more]

    def write(self, folder: Path) -> dict[str, int]:
        """Write files that only their owner may read, all or none; return the rows of each."""
        folder.mkdir(parents=True, exist_ok=True)
        written, unfinished = {}, {name: folder / f"{name}.csv.part" for name in self._queries}
        try:
            for name, path in unfinished.items():
                path.unlink(missing_ok=True)
                descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _OWNER_ONLY)
                with os.fdopen(descriptor, "w", encoding="utf-8", newline="") as file:
                    out = csv.writer(file)
                    written[f"{name}.csv"] = (
                        sum(1 for row in self.rows(name) if out.writerow(row)) - 1
                    )
            for path in unfinished.values():
                path.replace(path.with_suffix(""))
        finally:
            for path in unfinished.values():
                path.unlink(missing_ok=True)
        return written
