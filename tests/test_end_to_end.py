"""The service as a whole, on Apache Kafka and Redis: inputs, and all resulting output."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from livesegments.analysis.backtest.quality import labelled_inertia, reference
from livesegments.contracts.dead_letters import parse
from livesegments.contracts.topics import DEAD_LETTERS, PURCHASES
from livesegments.demo.dataset import complete_journey
from livesegments.features.window import Tiling
from tests.service import PARTITIONS, Event, Service, profile, purchase
from tests.stored import read_partition

pytestmark = pytest.mark.servers

TILES, LAYOUT = 30, Tiling(90, 30)


def livesegments(service: Service, *arguments: str) -> str:
    """Run a command of the service's deployment; return its output."""
    done = service.command(*arguments)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.timeout(240)
def test_a_year_of_real_purchases_gives_the_windows_that_pandas_computes(
    service: Service, tmp_path: Path
) -> None:
    service.environment["LIVESEGMENTS_WARMUP_CUSTOMERS"] = "300"
    service.start()
    purchases, profiles = complete_journey(tmp_path)
    year = pd.read_parquet(purchases)
    some = set(year["customer_id"].unique()[::5])
    baskets = year[year["customer_id"].isin(some)].copy()
    baskets.to_parquet(purchases)
    known = pd.read_parquet(profiles)
    known = known[known["customer_id"].isin(some)]
    known.to_parquet(profiles)
    livesegments(service, "replay", str(purchases), "--profiles", str(profiles))
    service.wait(120)
    service.verified()

    baskets["cents"] = (baskets["amount"] * 100).round().astype("int64")
    times = baskets["occurred_at"].dt.tz_convert(None)
    baskets["tile"] = LAYOUT.tile_of(times.to_numpy("datetime64[us]").view(np.int64))
    households = 0
    for partition in range(PARTITIONS):
        stored = read_partition(service.client, "livesegments", partition)
        first = stored.cut.clock_us // LAYOUT.tile_us - TILES + 1
        mine = baskets[baskets["customer_id"].isin(stored.customers) & (baskets["tile"] >= first)]
        totals = mine.groupby("customer_id")["cents"].agg(["count", "sum"])
        households += len(stored.customers)
        for name, customer in stored.customers.items():
            cells = [cell for tile, cell in customer.tiles.items() if tile >= first]
            found = (sum(c[0] for c in cells), sum(c[1] for c in cells))
            wanted = tuple(totals.loc[name]) if name in totals.index else (0, 0)
            assert found == wanted, name
    assert households == baskets["customer_id"].nunique()

    rows = exported(service, tmp_path)
    assert len(rows) == households
    assert rows["segment"].notna().sum() > 350
    assert rows["location"].isna().all()
    assert rows["age"].notna().sum() == len(known) > 120

    # The replay outruns the first fit, and a check of the model follows the last sweep.
    service.wait_for(
        lambda: excess_inertia(exported(service, tmp_path)) < 0.03, "close to batch k-means", 30
    )


def exported(service: Service, folder: Path) -> pd.DataFrame:
    """Return the customers that the command exports."""
    path = folder / "segments.csv"
    path.unlink(missing_ok=True)
    livesegments(service, "export", str(path))
    return pd.read_csv(path, dtype={"customer_id": str})


def excess_inertia(customers: pd.DataFrame) -> float:
    """Return by which fraction the clusters' inertia exceeds that of batch k-means."""
    current = customers[customers["purchases"] > 0]
    X = np.full((len(current), 5), np.nan)
    X[:, 0], X[:, 1] = np.log1p(current["purchases"]), np.log1p(current["spend"].clip(lower=0))
    X[:, 2], X[:, 3] = current["age"], np.log(current["income"])
    best, clusters = reference(X, 5), current["cluster"].to_numpy(np.int8)
    return labelled_inertia(X, clusters, best.weights, 5) / best.inertia - 1


def hostile(i: int, rng: np.random.Generator) -> Event:
    """Return the i-th invalid record."""
    customer = f"c{i % 97}"
    _, key, value = purchase(customer, "2024-01-01T00:00:00Z", event_id=f"bad{i}")
    whole = value or b""
    fields = json.loads(whole)
    kinds: list[tuple[bytes | None, bytes | None]] = [
        (key, whole[: 1 + i % (len(whole) - 1)]),
        (key, rng.bytes(1 + i % 200)),
        (key, b"[" * 5_000),
        (key, json.dumps({**fields, "channel": "x" * 70_000}).encode())
        if i % 500 == 0
        else (key, b""),
        (key, json.dumps({**fields, "amount": float("nan")}).encode()),
        (key, json.dumps({**fields, "amount": "much"}).encode()),
        (key, json.dumps({**fields, "currency": "XTS"}).encode()),
        (key, json.dumps({**fields, "occurred_at": "2024-01-01T00:00:00"}).encode()),
        (b"someone else", whole),
        (None, whole),
        (b"c" * 200, json.dumps({**fields, "customer_id": "c" * 200}).encode()),
        (key, json.dumps({**fields, "occurred_at": "2999-01-01T00:00:00Z"}).encode()),
        (key, None),
    ]
    return (PURCHASES, *kinds[i % len(kinds)])


@pytest.mark.timeout(180)
def test_thousands_of_malformed_records_are_dead_letters_once_and_good_ones_count(
    service: Service,
) -> None:
    rng = np.random.default_rng(7)
    good = [
        purchase(f"c{i % 97}", f"2024-01-{1 + i % 28:02d}T12:00:00Z", 1.25, event_id=f"good{i}")
        for i in range(4_000)
    ]
    bad = [hostile(i, rng) for i in range(4_000)]
    mixed = [event for pair in zip(good, bad, strict=True) for event in pair]
    service.start()
    service.send(mixed)
    service.wait()
    service.verified()

    letters = service.records(DEAD_LETTERS)
    assert len(letters) == 4_000
    places = {(parse(r.headers).partition, parse(r.headers).offset) for r in letters}
    assert len(places) == 4_000
    wanted = sorted((key or b"", value or b"") for _, key, value in bad)
    assert sorted((r.key or b"", r.value or b"") for r in letters) == wanted
    counted = sum(
        cell[0]
        for p in range(PARTITIONS)
        for customer in read_partition(service.client, "livesegments", p).customers.values()
        for cell in customer.tiles.values()
    )
    assert counted == 4_000


def test_a_profile_changes_the_record_and_the_segment(service: Service) -> None:
    rng = np.random.default_rng(1)
    service.environment |= {"LIVESEGMENTS_REFIT": "off", "LIVESEGMENTS_WARMUP_CUSTOMERS": "200"}
    service.start()
    people = [f"c{i:03d}" for i in range(200)]
    old = {"age": 70, "income": 20_000, "location": "rural"}
    young = {"age": 30, "income": 120_000, "location": "urban"}
    events = [
        profile(p, "2024-01-01T00:00:00Z", **(old if i % 2 == 0 else young))
        for i, p in enumerate(people)
    ]
    events += [
        purchase(p, f"2024-01-{day:02d}T10:00:00Z", round(float(rng.gamma(2, 20)) + 1, 2))
        for day in range(2, 12)
        for p in people
    ]
    service.send(events)
    service.wait_for(service.has_model, "everyone is scored")
    service.wait()
    changed = profile("c000", "2024-02-01T00:00:00Z", **young)
    service.send([changed])
    service.wait()
    found = [
        read_partition(service.client, "livesegments", p).customers.get("c000")
        for p in range(PARTITIONS)
    ]
    [customer] = [each for each in found if each]
    assert (customer.age, customer.income, customer.location) == (30, 120_000, "urban")
    lines = [
        json.loads(line)
        for line in livesegments(
            service, "subscribe", "--json", "--from-start", "--changes-only", "--idle-exit", "5"
        ).splitlines()
    ]
    moves = [line for line in lines if line["customer_id"] == "c000"]
    assert moves[-1]["origin"] == "profile"
    assert moves[-1]["cause"]["topic"] == "customer-profiles.v1"
    service.verified()


def test_with_the_wall_clock_only_purchases_of_the_last_window_count(service: Service) -> None:
    service.environment["LIVESEGMENTS_CLOCK"] = "wall"
    rng = np.random.default_rng(2)
    now = np.datetime64("now", "s")

    def bought(customer: str, days_ago: float) -> Event:
        at = np.datetime_as_string(now - np.timedelta64(int(days_ago * 86_400), "s"))
        amount = round(float(rng.gamma(2, 20)) + 1, 2)
        return purchase(customer, f"{at}Z", amount, event_id=f"{customer}-{days_ago}")

    recent = [bought(f"new{i}", 1 + day) for i in range(120) for day in range(1 + i % 20)]
    past = [bought(f"old{i}", 100 + i) for i in range(20)]
    service.start()
    service.send([*past, *recent])
    service.wait_for(service.has_model, "everyone is scored")
    service.wait()
    service.verified()
    customers = {
        name: customer
        for p in range(PARTITIONS)
        for name, customer in read_partition(service.client, "livesegments", p).customers.items()
    }
    assert all(customers[f"new{i}"].segment >= 0 for i in range(120))
    assert all(customers[f"old{i}"].segment < 0 for i in range(20))
