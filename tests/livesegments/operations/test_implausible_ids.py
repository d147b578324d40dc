"""Ids that no person has are named, and good customers are not."""

import random
from collections import Counter

import pytest

from livesegments.operations.implausible_ids import (
    ImplausibleId,
    PurchaseCounts,
    implausible_ids,
    is_placeholder,
    told,
)

SHOP = [f"c{number % 400}" for number in range(2_000)]


def named_in(customers: list[str]) -> list[ImplausibleId]:
    return implausible_ids(Counter(customers))


@pytest.mark.parametrize(
    "customer_id",
    [
        *(
            "0",
            "00000",
            "-1",
            "NULL",
            "null",
            "None",
            "NaN",
            "n/a",
            "N/A",
            "(not set)",
            "undefined",
        ),
        *("guest", "Guest", "GUEST_USER", "guest-checkout", "anonymous", "walk-in", "unknown"),
        *("99999", "00000000-0000-0000-0000-000000000000", "xxx", "test"),
    ],
)
def test_placeholders_are_recognised(customer_id: str) -> None:
    assert is_placeholder(customer_id)
    [found] = named_in([*SHOP, *[customer_id] * 20])
    assert (found.customer_id, found.is_placeholder, found.purchases) == (customer_id, True, 20)


@pytest.mark.parametrize(
    "customer_id", ["42", "1", "15001", "10", "c0", "anna", "99", "a0", "-5", "guest-42", "nulla"]
)
def test_ids_of_people_are_no_placeholders(customer_id: str) -> None:
    assert not is_placeholder(customer_id)
    assert named_in([*SHOP, *[customer_id] * 20]) == []


def test_an_id_with_a_share_that_no_person_has_is_named_whatever_it_is() -> None:
    [found] = named_in([*SHOP, *["1000017"] * 300])
    assert (found.purchases, found.is_placeholder) == (300, False)
    assert found.share == pytest.approx(300 / 2_300)
    assert told([found]) == "'1000017' has 13.0% of the purchases"
    assert told([found] * 5).endswith("and 2 more")


def test_few_customers_and_good_ones_are_people() -> None:
    assert named_in([]) == []
    assert named_in(["0"] * 10 + ["1"] * 12) == []
    assert named_in([str(number % 10) for number in range(1_000)]) == []
    rng = random.Random(3)
    pareto = [f"c{int(rng.paretovariate(1.16))}" for _ in range(20_000)]
    ranked = [f"c{rank}" for rank, n in enumerate(range(500, 0, -1)) for _ in range(n)]
    assert named_in(ranked) == []
    assert len(named_in(pareto)) <= 10


def test_the_counts_kept_are_bounded_and_those_of_the_most_purchases() -> None:
    counts = PurchaseCounts()
    for part in range(50):
        counts.add({f"c{part}-{number}": 20 + number % 30 for number in range(1_000)})
        counts.add({f"guest{part}": 1})
    counts.add({"guest": 90_000})
    assert counts.customers == 50_051
    assert len(counts._most) <= 2 * counts.MOST + 1
    [found] = counts.implausible()
    assert found.customer_id == "guest"


def test_parts_and_the_whole_are_judged_alike() -> None:
    counts = PurchaseCounts()
    whole = Counter([*SHOP, *["guest"] * 200])
    names = list(whole)
    for start in range(0, len(names), 7):
        counts.add({name: whole[name] for name in names[start : start + 7]})
    assert counts.implausible() == named_in([*SHOP, *["guest"] * 200])
