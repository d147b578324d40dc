"""Selection and order of the customers to keep, and what to offer to whom."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from livesegments.analysis.backtest.results import iso_date
from livesegments.analysis.pages.audiences import OFFERED, SHOWN, audiences_page
from livesegments.analysis.pages.lists import Lists
from livesegments.analysis.pages.segments import DAY_S, Period
from livesegments.analysis.survey.context import DeploymentContext
from livesegments.analysis.survey.purchases import OTHERS
from livesegments.features.record_codec import Records
from livesegments.features.window import window
from tests.consumers.harness import (
    DAY,
    HIGH_VALUE,
    LAYOUT,
    SEGMENTS,
    STUDENTS,
    generation,
    model_of,
)
from tests.livesegments.analysis.pages.surveyed import (
    CLOCK_TILE,
    CLOCK_US,
    STANDING,
    change,
    customers,
    surveyed,
)
from tests.segmentations import PERSONAS

VALUED, STUDENT = SEGMENTS.index(HIGH_VALUE), SEGMENTS.index(STUDENTS)
PERIOD = Period.until(CLOCK_US, 10)
WENT_US = CLOCK_US - 5 * DAY


def went(*names: str) -> list[dict[str, Any]]:
    return [change(name, WENT_US, HIGH_VALUE, STUDENTS, "expiry") for name in names]


def page(
    records: Records, changes: list[dict[str, Any]], context: DeploymentContext = STANDING
) -> dict[str, Any]:
    with surveyed(records, changes, context) as connection:
        return audiences_page(connection, context, PERIOD, SEGMENTS)


def left(records: Records, changes: list[dict[str, Any]], **more: Any) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = page(records, changes, **more)["retention"]["left"]
    return found


def test_the_most_valuable_is_whose_persona_is_expected_to_buy_and_spend_the_most() -> None:
    assert SEGMENTS[STANDING.valued] == HIGH_VALUE


def test_who_left_and_still_spends_the_most_comes_first() -> None:
    n = SHOWN + 5
    retention = page(customers(n, segment=STUDENT), went(*(f"c{i}" for i in range(n))))["retention"]
    assert (retention["left_customers"], retention["leaving_customers"]) == (n, 0)
    spends = [each["spend"] for each in retention["left"]]
    assert spends == [10.0 * n for n in range(n, 5, -1)]
    assert {each["segment"] for each in retention["left"]} == {STUDENTS}


def test_who_went_to_a_segment_that_spends_more_comes_after_the_others() -> None:
    fitted = generation()
    centroids = fitted.centroids.copy()
    centroids[STUDENT, 1] = centroids[:, 1].max() + 1
    context = replace(STANDING, model=model_of(replace(fitted, centroids=centroids)))
    records = customers(3, segment=[0, STUDENT, -1])
    found = left(records, went("c0", "c1", "c2"), context=context)
    assert [each["segment"] for each in found] == [None, SEGMENTS[0], STUDENTS]


@pytest.mark.parametrize("fields", [{"profiling": 0}, {"suppressed": True}])
def test_who_must_not_be_profiled_is_on_no_list(fields: dict[str, Any]) -> None:
    assert left(customers(1, segment=-1, **fields), went("c0")) == []


def test_who_came_back_or_was_erased_has_not_left() -> None:
    changes = [
        *went("c0", "c1", "c2", "c3"),
        change("c0", WENT_US + 1, STUDENTS, HIGH_VALUE),
        change("c1", WENT_US + 1, STUDENTS, None, "erasure"),
        change("c2", WENT_US + 1, STUDENTS, SEGMENTS[0]),
        change("c4", PERIOD.start_us - DAY_S * 1_000_000, HIGH_VALUE, STUDENTS),
    ]
    found = left(customers(5, segment=[VALUED, -1, 0, STUDENT, STUDENT]), changes)
    assert [each["segment"] for each in found] == [STUDENTS, SEGMENTS[0]]
    assert {(each["left_on"], each["origin"]) for each in found} == {("2024-09-30", "expiry")}


def test_who_has_nothing_but_little_in_the_window_is_about_to_leave() -> None:
    records = customers(2, segment=VALUED)
    records["counts"][1] = 30
    records["cents"][1] = 400_000
    retention = page(records, [])["retention"]
    [leaving] = retention["leaving"]
    assert retention["leaving_customers"] == 1
    assert leaving["spend"] == 10.0
    assert leaving["margin"] < 0


def test_who_is_at_the_centroid_is_farther_from_any_other_than_can_be_said() -> None:
    records = customers(1, segment=VALUED, age=30)
    [vector] = PERSONAS.vectors(records, window(records, CLOCK_TILE, LAYOUT))
    fitted = generation()
    centroids = np.where(np.arange(len(SEGMENTS))[:, None] == VALUED, vector, fitted.centroids)
    context = replace(STANDING, model=model_of(replace(fitted, centroids=centroids)))
    with surveyed(records, [], context, horizon_days=30) as connection:
        [leaving] = audiences_page(connection, context, PERIOD, SEGMENTS)["retention"]["leaving"]
    assert leaving["margin"] is None


def test_a_refund_is_no_purchase_and_who_has_none_bought_last_at_no_known_time() -> None:
    records = customers(2, segment=STUDENT)
    records["counts"][0, CLOCK_TILE % LAYOUT.tiles] = 0  # a refund
    records["counts"][0, (CLOCK_TILE - 2) % LAYOUT.tiles] = 1
    records["counts"][1] = 0
    found = left(records, went("c0", "c1"))
    last = {each["spend"]: each["last_purchase"] for each in found}
    assert last == {10.0: iso_date(LAYOUT.end(CLOCK_TILE - 2) - 1), 20.0: None}


def test_what_the_segment_prefers_is_offered_to_whoever_lacks_it_and_consents() -> None:
    records = customers(4, segment=[0, 0, 0, STUDENT], marketing=[1, 1, 0, 1])
    with surveyed(records) as connection:
        connection.execute(
            "INSERT INTO surveyed_purchases VALUES"
            f" ('c0', '{SEGMENTS[0]}', 'tea', 30, 900), ('c1', '{SEGMENTS[0]}', 'jam', 10, 500),"
            f" ('c3', '{STUDENTS}', 'jam', 40, 2000), ('c3', '{STUDENTS}', NULL, 7, 70)"
        )
        found = audiences_page(connection, STANDING, PERIOD, SEGMENTS)["categories"]
        lists = Lists(connection, STANDING, PERIOD)
        offers = list(lists.rows("cross-sell"))
        targets = list(lists.rows(f"target-{SEGMENTS[0]}"))
    assert (found["purchases"], found["without"]) == (87, 7)
    assert list(found["rows"]) == ["jam", "tea"]
    assert found["rows"]["tea"] == dict.fromkeys(SEGMENTS, 0) | {SEGMENTS[0]: 30}
    # Expected without preferences: 40 of 80 purchases by segment, 30 and 50 by category.
    assert found["lift"]["tea"][SEGMENTS[0]] == 2.0
    assert found["lift"]["jam"][STUDENTS] == 1.6
    assert found["spend"]["tea"][SEGMENTS[0]] == 9.0
    assert [(row[0], *row[-2:]) for row in offers[1:]] == [("c1", "tea", "2.00")]
    assert offers[0][-2:] == ["category", "lift"]
    assert [row[0] for row in targets[1:]] == ["c0", "c1"]


def test_the_sum_of_rare_categories_is_offered_to_nobody() -> None:
    with surveyed(customers(3, segment=[0, 0, STUDENT], marketing=1)) as connection:
        connection.execute(
            "INSERT INTO surveyed_purchases VALUES"
            f" ('c0', '{SEGMENTS[0]}', '{OTHERS}', 40, 900), ('c2', '{STUDENTS}', 'jam', 40, 900)"
        )
        assert len(list(Lists(connection, STANDING, PERIOD).rows("cross-sell"))) == 1


def test_page_and_lists_draw_the_line_at_the_same_categories() -> None:
    with surveyed(customers(3, segment=[0, 0, STUDENT], marketing=1)) as connection:
        connection.execute(
            "INSERT INTO surveyed_purchases VALUES"
            f" ('c0', '{SEGMENTS[0]}', 'tea', 2749, 900), ('c1', '{SEGMENTS[0]}', 'jam', 2251, 5),"
            f" ('c2', '{STUDENTS}', 'tea', 2251, 900), ('c2', '{STUDENTS}', 'jam', 2749, 900)"
        )
        lift = audiences_page(connection, STANDING, PERIOD, SEGMENTS)["categories"]["lift"]
        [_, *offers] = Lists(connection, STANDING, PERIOD).rows("cross-sell")
    assert lift["tea"][SEGMENTS[0]] == OFFERED  # 1.0996, rounded
    assert [(row[0], row[-2]) for row in offers] == [("c1", "tea")]
