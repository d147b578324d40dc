"""Lists of customers with consent to marketing, by their real ids, as CSV files."""

import os
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import IO, Self

import numpy as np
import pandas as pd

from livesegments.analysis.report.category_sets import MOST, PurchasedCategories
from livesegments.analysis.report.context import ReportContext
from livesegments.analysis.report.customers import CONSENTS, customer_rows, hashes
from livesegments.model.types import Floats
from livesegments.operations.customer_scan import Stretch

OFFERED = 1.1
"""Lift from which a segment prefers a category, and it is offered to customers without it."""
_CUSTOMER = ["customer_id", "hash", "segment", "purchases", "spend", "last_purchase"]
_OWNER_ONLY = 0o600
_LINE_END = "\r\n"


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
        self._files: dict[str, tuple[IO[str], list[str]]] = {}
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

    def add(self, stretch: Stretch, left: pd.DataFrame, leaving: pd.DataFrame) -> None:
        """Write the customers of a batch with consent: by segment, offers, lost and at risk."""
        rules = self._context.rules
        placed = stretch.where(
            (stretch.records["marketing"] == CONSENTS) & (stretch.records["segment"] >= 0)
        )
        rows = customer_rows(placed, rules.layout)
        rows["hash"] = hashes(rows["customer_id"], rules.group_id)
        for i, segment in enumerate(rules.segment_ids):
            self._write(f"target-{segment}.csv", rows[rows["segment"] == i])
        self._write("cross-sell.csv", self._offers(rows))
        for status, found, date in (("left", left, "left_on"), ("leaving", leaving, "leaves_on")):
            consents = found[found["marketing"].eq(True)]
            self._write("retention.csv", consents.assign(status=status, date=consents[date]))

    def _offers(self, rows: pd.DataFrame) -> pd.DataFrame:
        """Return for each customer the category with the highest lift that they have not bought."""
        lift = self._lift[:, :MOST]
        if not lift.size or not len(rows):
            return rows[:0].assign(category="", lift=0.0)
        masks = self._bought.masks(rows["customer_id"].tolist())
        has = (masks[:, None] >> np.arange(lift.shape[1], dtype=np.uint64) & np.uint64(1)) > 0
        liked = np.where(has, -np.inf, lift[rows["segment"]])
        best = liked.argmax(axis=1)
        offers = rows.assign(
            category=[self._categories[each] for each in best.tolist()], lift=liked.max(axis=1)
        )
        return offers[offers["lift"] >= OFFERED]

    def _open(self, name: str, columns: list[str]) -> None:
        unfinished = self._folder / f"{name}.part"
        unfinished.unlink(missing_ok=True)
        descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _OWNER_ONLY)
        file = self._stack.enter_context(os.fdopen(descriptor, "w", encoding="utf-8", newline=""))
        file.write(",".join(columns) + _LINE_END)
        self._files[name] = file, columns
        self.written[name] = 0

    def _write(self, name: str, rows: pd.DataFrame) -> None:
        file, columns = self._files[name]
        ids = dict(enumerate(self._context.rules.segment_ids))
        rows.assign(segment=rows["segment"].map(ids)).to_csv(
            file,
            columns=columns,
            header=False,
            index=False,
            float_format="%.2f",
            lineterminator=_LINE_END,
        )
        self.written[name] += len(rows)
