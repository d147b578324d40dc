"""Streams match their names, and the model is good on small ones at every date."""

import json
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from bench import flap, streams, unseen
from bench.history import History
from bench.streams import DAYS, Events, Stream, buy, by_time, people
from livesegments.analysis.backtest.quality import ratio
from livesegments.contracts.decode import decode_profiles, decode_purchases
from livesegments.contracts.topics import PROFILES, PURCHASES


@pytest.fixture(scope="module")
def drawn() -> dict[str, Stream]:
    return {name: streams.draw(name) for name in streams.STREAMS}


@pytest.mark.parametrize("name", streams.STREAMS)
def test_a_stream_is_the_same_every_time_and_in_order(name: str, drawn: dict[str, Stream]) -> None:
    stream = drawn[name]
    again = streams.draw(name)
    assert np.array_equal(stream.customer, again.customer)
    assert np.array_equal(stream.amount, again.amount)
    assert (np.diff(stream.day) >= 0).all()
    assert stream.day.min() >= 0
    assert stream.day.max() < DAYS
    assert (stream.amount > 0).all()


def test_events_are_what_the_service_accepts(drawn: dict[str, Stream]) -> None:
    for stream in (drawn["bots and outliers"], drawn["heavy tails"]):
        events = [(topic, key, value) for topic, key, value in stream.events()]
        for topic, decode in (
            (PURCHASES, lambda *columns: decode_purchases(*columns, currency="USD")),
            (PROFILES, decode_profiles),
        ):
            own = [event for event in events if event[0] == topic]
            zeros = [0] * len(own)
            accepted, rejected = decode([k for _, k, _ in own], [v for *_, v in own], zeros)
            assert not rejected
            assert len(accepted.row) == len(own)


def test_customers_without_demographics_have_no_profile(drawn: dict[str, Stream]) -> None:
    assert {topic for topic, _, _ in drawn["no demographics"].events()} == {PURCHASES}
    fields = Counter(
        field
        for topic, _, value in drawn["few profiles"].events()
        if topic == PROFILES
        for field in json.loads(value)
    )
    n = len(drawn["few profiles"].people)
    assert 0 < fields["location"] < fields["income"] < fields["age"] < n / 10


def test_most_customers_come_once(drawn: dict[str, Stream]) -> None:
    bought = np.bincount(drawn["once only"].customer)
    assert len(bought) == 30_000
    assert 0.75 < np.mean(bought == 1) < 0.9


def test_customers_grow_a_hundredfold(drawn: dict[str, Stream]) -> None:
    came = drawn["growth to 50,000"].people.first_day
    assert np.count_nonzero(came < 1) < 600
    assert len(came) == 50_000
    months = np.histogram(came, 12)[0]
    assert (np.diff(months) > 0).all()


def test_a_drift_is_in_rates_and_amounts(drawn: dict[str, Stream]) -> None:
    early, late = (drawn["drift"].day < 60), (drawn["drift"].day > DAYS - 60)
    assert np.count_nonzero(late) < 0.5 * np.count_nonzero(early)
    amount = drawn["drift"].amount
    assert np.median(amount[late]) > 2 * np.median(amount[early])


def test_only_the_young_move(drawn: dict[str, Stream]) -> None:
    stream = drawn["one kind moves"]
    young = stream.people.age[stream.customer] < 26
    late = stream.day > DAYS / 2
    assert np.count_nonzero(young & late) > 4 * np.count_nonzero(young & ~late)
    assert np.median(stream.amount[young & late]) < 0.2 * np.median(stream.amount[young & ~late])
    others = np.median(stream.amount[~young & late]) / np.median(stream.amount[~young & ~late])
    assert others == pytest.approx(1, abs=0.1)


def test_the_population_shrinks(drawn: dict[str, Stream]) -> None:
    stream = drawn["shrinking"]
    buyers = [
        len(np.unique(stream.customer[(stream.day >= day) & (stream.day < day + 60)]))
        for day in (0, 300)
    ]
    assert buyers[1] < buyers[0] / 4


def test_tails_are_heavy(drawn: dict[str, Stream]) -> None:
    amount = drawn["heavy tails"].amount
    assert amount.max() > 1_000 * np.median(amount)
    bought = np.bincount(drawn["heavy tails"].customer)
    assert bought.max() > 50 * np.median(bought)


def test_few_customers_differ(drawn: dict[str, Stream]) -> None:
    assert set(drawn["few distinct"].amount) == {10, 20, 40}
    assert np.bincount(drawn["few distinct"].customer).max() == 1
    assert len(np.unique(drawn["ties"].amount)) == 4
    constant = drawn["constant feature"].people
    assert (set(constant.age), set(constant.place)) == ({40}, {2})


def test_bots_buy_for_cents_and_some_amounts_are_in_millions(drawn: dict[str, Stream]) -> None:
    stream = drawn["bots and outliers"]
    bots = stream.customer >= len(stream.people) - 10
    assert np.median(stream.amount[bots]) < 0.05
    assert np.count_nonzero(bots) > 25_000
    assert np.mean(stream.amount == 1e7) == pytest.approx(0.001, rel=0.3)


def test_shuffling_keeps_purchases_and_their_days(drawn: dict[str, Stream]) -> None:
    stream = drawn["steady"]
    mixed = streams.shuffled(stream, np.random.default_rng(0))
    assert (np.diff(np.floor(mixed.day)) >= 0).all()
    assert (np.diff(mixed.day) < 0).any()
    assert np.array_equal(np.sort(mixed.day), np.sort(stream.day))
    assert mixed.amount.sum() == pytest.approx(stream.amount.sum())


def small(name: str) -> Events:
    """Return a difficult stream of a few hundred customers."""
    rng = np.random.default_rng(5)
    who = people(rng, 500, known=0.5 if name in ("steady", "once only") else 0.0)
    if name == "once only":
        came = np.sort(rng.uniform(0, DAYS, 500))
        who = replace(who, first_day=came, rate=np.where(rng.random(500) < 0.2, who.rate, 1e-9))
    if name == "few distinct":
        price = np.array([10.0, 20.0, 40.0])[rng.choice(3, 500)]
        day = rng.uniform(0, DAYS, 500)
        return by_time(Stream(who, np.arange(500), day, price)).events()
    return buy(rng, who, spread=0.5).events()[:6_000]


@pytest.mark.parametrize("name", ["steady", "no demographics", "once only", "few distinct"])
def test_clusters_are_good_at_every_date(name: str) -> None:
    history = History(100)
    found = list(unseen.follow(history, small(name), batch=100))
    assert len(found) >= (4 if name == "few distinct" else 6)
    assert max(ratios.by_centroids for ratios in found) < 1.04
    assert max(ratios.by_labels for ratios in found) < 1.05
    assert len(history.generations) <= 20


def test_a_table_says_which_goal_is_met() -> None:
    table = unseen.run({"small": (lambda: small("few distinct"), 100)}, warmup=100)
    [(name, dates, centroids, labels, met, generations, changes, by_model)] = table.rows
    assert (name, met) == ("small", "met")
    assert centroids == labels == "1.000 (1.000)"
    assert 0 < int(by_model) <= int(changes.replace(",", ""))
    assert int(dates) > 0
    # The second one is created when windows are full, whatever the gain.
    assert int(generations) == 2
    assert table.notes[-1].endswith("met")


def test_every_segmentation_has_a_column_and_two_goals() -> None:
    table = unseen.run_segmentations(2, {"small": (lambda: small("few distinct"), 100)}, warmup=100)
    [(name, *cells)] = table.rows
    assert (name, len(cells)) == ("small", len(unseen.SEGMENTATIONS))
    assert cells[0] == "1.000 / 1.000"
    assert [note.split(", ")[1] for note in table.notes] == ["by centroids: met", "by labels: met"]


def test_nothing_relative_to_nothing_is_one() -> None:
    assert ratio(0, 0, 100) == 1
    assert ratio(2.0, 1.0, 100) == pytest.approx(2.0)
    assert ratio(1.0, 0.0, 100) > 1e6


def test_each_hold_makes_for_fewer_moves() -> None:
    table = flap.run(small("steady")[:2_000], batch=200, warmup=150)
    moved = {row[0]: int(row[2].replace(",", "")) for row in table.rows}
    assert list(moved) == list(flap.HOLDS)
    assert moved["both"] < moved["neither"]
    assert moved["margin 0.15"] < moved["neither"]
    assert flap.moves([("none", "a", "live"), ("a", "b", "live"), ("b", "none", "expiry")]) == [
        ("a", "b", "live")
    ]
