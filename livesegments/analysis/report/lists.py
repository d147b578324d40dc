"""Lists of customers with consent to marketing, by their real ids, as CSV files."""

import csv
import os
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Self

import numpy as np

from livesegments.analysis.report.category_sets import MOST, PurchasedCategories
from livesegments.analysis.report.context import ReportContext
from livesegments.analysis.report.customers import CONSENTS, Row, customer_rows
from livesegments.model.types import Floats
from livesegments.operations.customer_scan import CustomerBatch

OFFERED = 1.1
"""Lift from which a segment prefers a category, and it is offered to customers without it."""
_CUSTOMER = ["customer_id", "hash", "segment", "purchases", "spend", "last_purchase"]
_OWNER_ONLY = 0o600


class CustomerLists:
    """Writes files that only their owner may read, all of them or none.

    Parameters
    ----------
    folder
        Target folder; created when missing.
    context
        The deployment.
    categories
        Categories to offer.
    lift
        (k, categories) by segment, NaN for unknown.
    bought
        Categories that customers have.
    """

    def __init__(
        self,
        folder: Path,
        context: ReportContext,
        categories: Sequence[str],
        lift: Floats,
        bought: PurchasedCategories,
    ) -> None:
        self._folder, self._context = folder, context
        self._categories, self._lift, self._bought = categories, np.nan_to_num(lift), bought
        self._stack = ExitStack()
        self._files: dict[str, Any] = {}
        self.written: dict[str, int] = {}
        """File name -> rows."""

    def __enter__(self) -> Self:
        self._folder.mkdir(parents=True, exist_ok=True)
        for segment in self._context.rules.segment_ids:
            self._open(f"target-{segment}.csv", _CUSTOMER)
        self._open("retention.csv", [*_CUSTOMER, "status", "date", "to"])
        self._open("cross-sell.csv", [*_CUSTOMER, "category", "lift"])
        return self

    def __exit__(self, failed: object, *_: object) -> None:
        self._stack.close()
        for name in self.written:
            unfinished = self._folder / f"{name}.part"
            if failed is None:
                unfinished.replace(self._folder / name)
            else:
                unfinished.unlink(missing_ok=True)

    def add(self, batch: CustomerBatch, left: list[Row], leaving: list[Row]) -> None:
        """Write the customers of a batch with consent: by segment, offers, lost and at risk."""
        records = batch.records
        placed = batch.where((records["marketing"] == CONSENTS) & (records["segment"] >= 0))
        rows = customer_rows(placed, self._context)
        for row in rows:
            self._write(f"target-{row['segment']}.csv", row)
        for row in self._offers(rows, placed):
            self._write("cross-sell.csv", row)
        for row in left:
            if row["marketing"]:
                more = {"status": "left", "date": row["left_on"], "to": row["segment"]}
                self._write("retention.csv", row | more)
        for row in leaving:
            if row["marketing"]:
                self._write("retention.csv", row | {"status": "leaving", "date": row["leaves_on"]})

    def _offers(self, rows: list[Row], placed: CustomerBatch) -> list[Row]:
        """Return for each customer the category with the highest lift that they have not bought."""
        lift = self._lift[:, :MOST]
        if not lift.size or not rows:
            return []
        masks = self._bought.masks(placed.names)
        has = (masks[:, None] >> np.arange(lift.shape[1], dtype=np.uint64) & np.uint64(1)) > 0
        liked = np.where(has, -np.inf, lift[placed.records["segment"]])
        best = zip(rows, liked.argmax(axis=1).tolist(), liked.max(axis=1).tolist(), strict=True)
        return [
            row | {"category": self._categories[column], "lift": f"{value:.2f}"}
            for row, column, value in best
            if value >= OFFERED
        ]

    def _open(self, name: str, columns: list[str]) -> None:
        unfinished = self._folder / f"{name}.part"
        unfinished.unlink(missing_ok=True)
        descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _OWNER_ONLY)
        file = self._stack.enter_context(os.fdopen(descriptor, "w", encoding="utf-8", newline=""))
        self._files[name] = csv.DictWriter(file, columns, extrasaction="ignore")
        self._files[name].writeheader()
        self.written[name] = 0

    def _write(self, name: str, row: Row) -> None:
        self._files[name].writerow(row | {"spend": f"{row['spend']:.2f}"})
        self.written[name] += 1
