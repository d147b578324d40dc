"""A report on real purchases, from a real service; every figure recomputed with pandas."""

import csv
import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from tests.livesegments.analysis.pages.real_shop import (
    GONE,
    Shop,
    accepted,
    all_swept,
    changes,
    in_window,
    send,
    states,
)
from tests.livesegments.rendering.elements import Elements
from tests.servers import KafkaServer, RedisServer
from tests.service import Service, empty_servers

pytestmark = [pytest.mark.servers, pytest.mark.timeout(300)]

DAYS = 30
HIGH_VALUE = "high-value-customers"


@pytest.fixture(scope="module")
def shop(
    kafka: KafkaServer, redis_server: RedisServer, tmp_path_factory: pytest.TempPathFactory
) -> Shop:
    """Half a year of a grocer's households, with some faults injected at the end."""
    empty_servers(kafka, redis_server)
    folder = tmp_path_factory.mktemp("report")
    # Small micro-batches, so that customers move day by day and not all at once.
    service = Service(kafka, redis_server, folder, {"MAX_POLL_RECORDS": "500"})
    try:
        service.start()
        send(service, folder)
        # A refit between the report and the reads of the tests would move customers.
        while True:
            service.workers[-1].terminate()
            assert service.workers[-1].wait(30) == 0, service.tail()
            if all_swept(service):
                break
            service.start()  # it was stopped while it took a refit over
            service.wait()
        done = service.command(
            "report", f"{folder}/page.html", "--json", "--lists", f"{folder}/lists"
        )
        assert done.returncode == 0, done.stderr
        assert service.command("export", f"{folder}/all.csv").returncode == 0
        purchases = accepted(service)
        return Shop(
            told=json.loads(done.stdout),
            page=(folder / "page.html").read_text("utf-8"),
            lists=folder / "lists",
            purchases=purchases,
            counted=in_window(purchases),
            changes=changes(service),
            states=states(service),
            exported=pd.read_csv(folder / "all.csv").set_index("customer_id"),
            printed=done.stdout + done.stderr,
        )
    finally:
        service.stop()


def hashed(customer: str) -> str:
    digest = hashlib.blake2b(customer.encode(), digest_size=16, key=b"livesegments")
    return digest.hexdigest()[:12]


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def bought(shop: Shop) -> pd.DataFrame:
    """Purchases and spend per customer in the window, net of refunds."""
    counted = shop.counted.assign(
        buys=shop.counted["kind"].eq("purchase"),
        spend=shop.counted["amount"].where(
            shop.counted["kind"].eq("purchase"), -shop.counted["amount"]
        ),
    )
    found = counted.groupby("customer_id").agg(purchases=("buys", "sum"), spend=("spend", "sum"))
    return shop.states.join(found, how="left")


def test_sizes_consents_and_value_are_those_of_the_states_and_purchases(shop: Shop) -> None:
    assert shop.told["customers"] == len(shop.states) > 300
    assert {each["id"]: each["customers"] for each in shop.told["segments"]} == (
        shop.states["segment"].value_counts().to_dict()
    )
    everyone = bought(shop)
    for target in shop.told["targets"]:
        of = everyone[everyone["segment"] == target["segment"]]
        assert target["customers"] == len(of)
        assert target["consenting"] == of["marketing"].eq(True).sum() > 0
        assert target["refusing"] == of["marketing"].eq(False).sum()
        assert target["unknown"] == of["marketing"].isna().sum()
        assert target["purchases"] == of["purchases"].sum()
        assert target["spend"] == pytest.approx(of["spend"].sum(), abs=0.005)
        consenting = of[of["marketing"].eq(True)]["spend"].sum()
        assert target["consenting_spend"] == pytest.approx(consenting, abs=0.005)


def test_sizes_of_each_day_are_those_that_the_changes_lead_to(shop: Shop) -> None:
    assert len(shop.told["days"]) == DAYS
    for i, day in enumerate(shop.told["days"]):
        last = shop.changes[shop.changes["day"] <= day].groupby("customer_id")["after"].last()
        counted = last.value_counts()
        for segment, sizes in shop.told["sizes"].items():
            assert sizes[i] == counted.get(segment, 0), (day, segment)


def test_migrations_are_the_changes_of_the_period(shop: Shop) -> None:
    within = shop.changes[shop.changes["day"].isin(shop.told["days"])]
    wanted = within.groupby(["before", "after"]).size().to_dict()
    found = {
        (before, after): count
        for before, to in shop.told["transitions"].items()
        for after, count in to.items()
        if count
    }
    assert found == wanted
    out = within[within["before"] != "none"]
    assert {origin: sum(counts) for origin, counts in shop.told["moves"].items()} == (
        out["origin"].value_counts().to_dict()
    )


def test_who_left_the_most_valuable_is_who_was_in_it_and_is_not_any_more(shop: Shop) -> None:
    within = shop.changes[shop.changes["day"].isin(shop.told["days"])]
    went = within[(within["before"] == HIGH_VALUE) & (within["origin"] != "erasure")]
    now = shop.states["segment"]
    wanted = {
        name for name in set(went["customer_id"]) - set(GONE) if now.get(name, "none") != HIGH_VALUE
    }
    retention = shop.told["retention"]
    assert retention["segment"] == HIGH_VALUE
    assert retention["left_customers"] == len(wanted) > 0
    last = went.groupby("customer_id").last()
    shown = {each["hash"]: each for each in retention["left"]}
    assert len(shown) == min(len(wanted), 20)
    assert shown.keys() <= {hashed(name) for name in wanted}
    everyone = bought(shop)
    for name in wanted:
        if (row := shown.get(hashed(name))) is not None:
            assert (row["left_on"], row["origin"]) == tuple(last.loc[name, ["day", "origin"]])
            assert row["segment"] == now.get(name)
            if name in everyone.index:
                assert row["spend"] == pytest.approx(everyone.loc[name, "spend"], abs=0.005)


def test_who_is_about_to_leave_is_in_it_and_goes_within_the_period(shop: Shop) -> None:
    names = {hashed(name): name for name in shop.states.index}
    retention = shop.told["retention"]
    assert len(retention["leaving"]) == min(retention["leaving_customers"], 20) > 0
    clock = pd.Timestamp(shop.told["clock"])
    # The other partitions' clocks may be a day behind, and a tile is three days.
    earliest, latest = clock - pd.Timedelta(days=2), clock + pd.Timedelta(days=DAYS + 3)
    dates = [each["leaves_on"] for each in retention["leaving"]]
    assert dates == sorted(dates)
    for each in retention["leaving"]:
        assert shop.states.loc[names[each["hash"]], "segment"] == HIGH_VALUE
        assert earliest <= pd.Timestamp(each["leaves_on"], tz="UTC") <= latest
        assert each["segment"] != HIGH_VALUE


def test_categories_and_lift_are_those_of_the_window(shop: Shop) -> None:
    purchases = shop.counted[shop.counted["kind"] == "purchase"].join(
        shop.states["segment"], on="customer_id", how="inner"
    )
    told = shop.told["categories"]
    assert told["purchases"] == len(purchases)
    assert told["without"] == purchases["category"].isna().sum()
    table = pd.crosstab(purchases["category"], purchases["segment"])
    assert set(told["rows"]) == set(table.index)
    totals = [sum(row.values()) for row in told["rows"].values()]
    assert totals == sorted(totals, reverse=True)
    share, average = table / table.sum(), table.sum(axis=1) / table.to_numpy().sum()
    for category, row in told["rows"].items():
        for segment, count in row.items():
            assert count == table.loc[category, segment]
            expected = average[category] * table[segment].sum()
            lift = told["lift"][category][segment]
            if expected < 5:
                assert lift is None
            else:
                wanted = share.loc[category, segment] / average[category]
                assert lift == pytest.approx(wanted, abs=6e-4)
    spend = purchases.groupby(["category", "segment"])["amount"].sum()
    amounts: dict[Any, float] = spend.to_dict()
    for (category, segment), amount in amounts.items():
        assert told["spend"][category][segment] == pytest.approx(amount, abs=0.005)


def test_typical_customers_are_the_nearest_of_whom_most_is_known(shop: Shop) -> None:
    everyone = shop.exported
    X = pd.DataFrame(
        {
            "purchases": np.log1p(everyone["purchases"]),
            "spend": np.log1p(everyone["spend"].clip(lower=0)),
            "age": everyone["age"],
            "income": np.log(everyone["income"]),
        }
    )
    counted = everyone["cluster"].notna()
    std = X[counted].std(ddof=0)
    centroids = X[counted].groupby(everyone["cluster"]).mean()
    carrier = everyone[counted].groupby("segment")["cluster"].agg(lambda c: c.mode()[0])
    for segment, cluster in carrier.items():
        members = X[everyone["segment"] == segment]
        z = (members - centroids.loc[cluster]) / std
        distance = np.sqrt((z**2).sum(axis=1))
        order = pd.DataFrame({"unknown": z.isna().sum(axis=1), "distance": distance})
        nearest = order.sort_values(["unknown", "distance"]).head(5)
        shown = [each for each in shop.told["typical"] if each["segment"] == segment]
        assert [each["hash"] for each in shown] == [hashed(name) for name in nearest.index]
        for each, name in zip(shown, nearest.index, strict=True):
            assert each["distance"] == pytest.approx(nearest.loc[name, "distance"], abs=2e-3)
            assert each["purchases"] == everyone.loc[name, "purchases"]
            assert each["age"] is None or each["age"] % 5 == 0


def test_data_quality_is_counted(shop: Shop) -> None:
    quality = shop.told["quality"]
    assert quality["purchases"] == len(shop.purchases)
    assert (quality["duplicates"], quality["late"], quality["behind"]) == (3, 1, 0)
    assert quality["dead_letters"] == {"not_json": [1, 0], "key_mismatch": [1, 0]}
    assert quality["unknown"]["purchases"] == 0
    assert quality["unknown"]["urbanicity"] == 1
    assert 0 < quality["unknown"]["age"] < 1


def test_drift_is_measured(shop: Shop) -> None:
    drift = shop.told["drift"]
    assert drift["generation"] > 0
    assert 0.4 < drift["explained_variance"] < 1
    known = [shift for shift in drift["shift"].values() if shift is not None]
    assert 0 <= max(known) < 1.5
    assert drift["feature_psi"].keys() == {"purchases", "spend", "age", "income", "urbanicity"}
    assert drift["feature_psi"]["urbanicity"][0] == 0


def test_no_customer_is_named_on_the_page_or_in_the_figures(shop: Shop) -> None:
    told = json.dumps(shop.told)
    assert "household" not in shop.page
    assert "household" not in shop.printed
    for each in (*shop.told["typical"], *shop.told["retention"]["leaving"]):
        assert each["hash"] in shop.page
    for name in GONE:
        assert hashed(name) not in shop.page + told


def test_the_page_has_the_figures_that_json_has(shop: Shop) -> None:
    text = Elements(shop.page).text
    for segment in shop.told["segments"]:
        assert f"{segment['customers']:,} customers" in text
    assert "no customer's urbanicity was known at the fit" in text


def test_lists_hold_who_consents_by_their_ids_and_nobody_else(shop: Shop) -> None:
    consenting = shop.states[shop.states["marketing"].eq(True)]
    for segment in shop.told["sizes"]:
        rows = rows_of(shop.lists / f"target-{segment}.csv")
        wanted = set(consenting[consenting["segment"] == segment].index)
        assert {row["customer_id"] for row in rows} == wanted
        assert all(row["hash"] == hashed(row["customer_id"]) for row in rows)
    retention = rows_of(shop.lists / "retention.csv")
    assert {row["status"] for row in retention} == {"left", "leaving"}
    for row in retention:
        assert int(row["customer_id"].removeprefix("household-")) % 3 == 0
        assert row["customer_id"] not in GONE
    for path in shop.lists.iterdir():
        assert path.suffix == ".csv"
        assert path.stat().st_mode & 0o077 == 0


def test_what_is_offered_is_liked_by_the_segment_and_lacked_by_the_customer(shop: Shop) -> None:
    rows = rows_of(shop.lists / "cross-sell.csv")
    lift = shop.told["categories"]["lift"]
    purchases = shop.counted[shop.counted["kind"] == "purchase"]
    has = purchases.groupby("customer_id")["category"].agg(set).to_dict()
    assert len(rows) > 50
    offered = {row["customer_id"]: row for row in rows}
    consenting = shop.states[shop.states["marketing"].eq(True)]
    segments: dict[Any, str] = consenting["segment"].to_dict()
    for name, segment in segments.items():
        liked = {
            category: of[segment]
            for category, of in lift.items()
            if (of[segment] or 0) >= 1.1 and category not in has[name]
        }
        if not liked:
            assert name not in offered
            continue
        best = max(liked.values())
        assert liked[offered[name]["category"]] == pytest.approx(best, abs=1e-3)
        assert float(offered[name]["lift"]) == pytest.approx(best, abs=6e-3)
