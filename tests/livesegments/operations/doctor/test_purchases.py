"""The doctor names ids of no person and amounts in cents, in a sample of purchases."""

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from livesegments.config.settings import Settings
from livesegments.operations.doctor.finding import Finding
from livesegments.operations.doctor.purchases import are_minor_units, decoded, look_at_purchases
from tests.consumers.harness import record
from tests.livesegments.contracts.records import purchase

SETTINGS = Settings()


def looked_at(
    events: Sequence[dict[str, Any]], settings: Settings = SETTINGS
) -> dict[str, Finding]:
    records = [
        record("purchases.v1", offset, str(each["customer_id"]).encode(), json.dumps(each).encode())
        for offset, each in enumerate(events)
    ]
    purchases = decoded(settings, records)
    return {finding.name: finding for finding in look_at_purchases(settings, purchases)}


def shop(amount: Any = 12.34, guests: int = 0) -> list[dict[str, Any]]:
    people = [purchase(customer_id=f"c{n % 100}", amount=amount) for n in range(300)]
    return [*people, *[purchase(customer_id="guest", amount=amount)] * guests]


def test_guests_are_named_with_their_share() -> None:
    assert looked_at(shop())["customer ids"].status == "ok"
    found = looked_at(shop(guests=100))["customer ids"]
    assert found.status == "warn"
    assert found.detail == "'guest', a placeholder, has 25.0% of the purchases sampled"
    assert "an id each" in found.fix


def test_a_small_sample_says_nothing() -> None:
    assert looked_at([]) == {}
    assert looked_at(shop()[:99]) == {}


def test_amounts_that_all_look_like_cents_are_named() -> None:
    assert set(looked_at(shop())) == {"customer ids"}
    in_cents = [{**each, "amount": 900 + 37 * row} for row, each in enumerate(shop())]
    found = looked_at(in_cents)["amounts"]
    assert found.status == "warn"
    assert "every amount of 300 purchases sampled is a whole number" in found.detail
    assert "like 54.66" in found.fix


@pytest.mark.parametrize(
    ("amounts", "expected"),
    [
        (np.arange(100_000, 200_000, 3_700), True),
        (np.arange(100_000, 200_000, 10_000), False),  # round prices
        (np.array([79_900, 129_900, 249_900] * 50), False),  # prices of furniture
        (np.arange(500, 3_000, 100), False),  # whole, and small
        (np.append(np.arange(100_000, 200_000, 3_700), 54_66), False),
    ],
)
def test_whole_amounts_are_minor_units_only_where_they_are_as_various_as_cents(
    amounts: Any, expected: bool
) -> None:
    assert are_minor_units(amounts.astype(np.int64)) is expected


def test_currencies_without_cents_have_whole_amounts() -> None:
    events = [{**e, "amount": 900 + 37 * row, "currency": "JPY"} for row, e in enumerate(shop())]
    assert set(looked_at(events, Settings(currency="JPY"))) == {"customer ids"}
