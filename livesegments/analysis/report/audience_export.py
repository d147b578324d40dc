"""Lists of customers with consent to marketing, by their real ids, as CSV files."""

import csv
import os
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np

from livesegments.analysis.report.category_sets import MOST, PurchasedCategories
from livesegments.analysis.report.context import ReportContext
from livesegments.analysis.report.customer_rows import CustomerRow, customer_rows
from livesegments.analysis.report.models import OFFERED, AtRiskCustomer, LostCustomer
from livesegments.model.types import Floats
from livesegments.operations.customer_scan import Stretch

_OWNER_ONLY = 0o600


@dataclass(frozen=True, slots=True)
class CrossSellOffers:
    """Categories to offer: their names, lift per segment (k, names; NaN: unknown), and buyers."""

    names: Sequence[str]
    lift: Floats
    bought: PurchasedCategories


class AudienceExport:
    """Writes files that only their owner may read, all of them or none.

    Parameters
    ----------
    folder
        Target folder; created when missing.
    context
        The deployment.
    offers
        For the cross-sell list.
    """

    def __init__(self, folder: Path, context: ReportContext, offers: CrossSellOffers) -> None:
        self._folder, self._context, self._offers = folder, context, offers
        self._stack = ExitStack()
        self._rows: dict[str, Any] = {}
        self.written: dict[str, int] = {}
        """File name -> rows."""

    def __enter__(self) -> Self:
        self._folder.mkdir(parents=True, exist_ok=True)
        person = ("customer_id", "hash", "segment", "purchases", "spend", "last_purchase")
        for segment in self._context.rules.segment_ids:
            self._open(f"target-{segment}.csv", person)
        self._open("retention.csv", (*person, "status", "date", "to"))
        self._open("cross-sell.csv", (*person, "category", "lift"))
        return self

    def __exit__(self, failed: object, *_: object) -> None:
        self._stack.close()
        for name in self.written:
            unfinished = self._folder / f"{name}.part"
            if failed is None:
                unfinished.replace(self._folder / name)
            else:
                unfinished.unlink(missing_ok=True)

    def add(
        self,
        stretch: Stretch,
        churned: Iterable[tuple[CustomerRow, LostCustomer | AtRiskCustomer]],
    ) -> None:
        """Write the customers of a batch with consent: by segment, offers, and churn."""
        rules = self._context.rules
        consents = stretch.where(stretch.records["marketing"] == 1)
        placed = consents.where(consents.records["segment"] >= 0)
        offered = self._offer(placed)
        for person, offer in zip(
            customer_rows(placed, rules.layout, rules.group_id), offered, strict=True
        ):
            row = self._row(person)
            self._write(f"target-{rules.segment_ids[person.segment]}.csv", row)
            if offer is not None:
                lift = self._offers.lift[person.segment, offer]
                self._write("cross-sell.csv", [*row, self._offers.names[offer], f"{lift:.2f}"])
        for person, found in churned:
            if not person.marketing:
                continue
            status, date = (
                ("left", found.left_on)
                if isinstance(found, LostCustomer)
                else ("leaving", found.leaves_on)
            )
            self._write("retention.csv", [*self._row(person), status, date, found.segment or ""])

    def _offer(self, placed: Stretch) -> list[int | None]:
        """Return for each customer the category with the highest lift that they have not bought."""
        lift = self._offers.lift[:, :MOST]
        if not lift.size or not placed.names:
            return [None] * len(placed.names)
        masks = self._offers.bought.masks(placed.names)
        has = (masks[:, None] >> np.arange(lift.shape[1], dtype=np.uint64) & np.uint64(1)) > 0
        liked = np.where(has, -np.inf, np.nan_to_num(lift)[placed.records["segment"]])
        best = liked.argmax(axis=1)
        good = liked[np.arange(len(best)), best] >= OFFERED
        return [int(column) if yes else None for column, yes in zip(best, good, strict=True)]

    def _row(self, person: CustomerRow) -> list[str]:
        ids = self._context.rules.segment_ids
        return [
            person.customer_id,
            person.hash,
            ids[person.segment] if person.segment >= 0 else "",
            f"{person.purchases}",
            f"{person.spend:.2f}",
            person.last_purchase,
        ]

    def _open(self, name: str, columns: Sequence[str]) -> None:
        unfinished = self._folder / f"{name}.part"
        unfinished.unlink(missing_ok=True)
        descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _OWNER_ONLY)
        file = self._stack.enter_context(os.fdopen(descriptor, "w", encoding="utf-8", newline=""))
        self._rows[name] = csv.writer(file)
        self._rows[name].writerow(columns)
        self.written[name] = 0

    def _write(self, name: str, row: Sequence[str]) -> None:
        self._rows[name].writerow(row)
        self.written[name] += 1
