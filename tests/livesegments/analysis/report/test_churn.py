"""Selection and order of the lists of customers who drift away."""

from dataclasses import replace
from typing import Any
from unittest.mock import sentinel

import numpy as np
import pytest

from livesegments.analysis.report.churn import SHOWN, ChurnTracker
from livesegments.analysis.report.context import ReportContext
from livesegments.features.record_codec import Records, empty
from livesegments.operations.customer_scan import CustomerBatch
from tests.consumers.harness import (
    DAY,
    HIGH_VALUE,
    LAYOUT,
    RULES,
    SEGMENTS,
    SHAPE,
    STUDENTS,
    generation,
    model,
    model_of,
)

CLOCK_TILE = 5_000
CLOCK_US = CLOCK_TILE * LAYOUT.tile_us + DAY
VALUED, STUDENT = SEGMENTS.index(HIGH_VALUE), SEGMENTS.index(STUDENTS)
STANDING = ReportContext(sentinel.store, sentinel.deployment, RULES, model(), statistics=None)
WENT = (CLOCK_US - 5 * DAY, "expiry")


def customers(n: int, **fields: Any) -> Records:
    records = empty(n, SHAPE)
    records["head"] = CLOCK_TILE
    records["counts"][:, CLOCK_TILE % LAYOUT.tiles] = 2
    records["cents"][:, CLOCK_TILE % LAYOUT.tiles] = 1_000 * np.arange(1, n + 1)
    for name, value in fields.items():
        records[name] = value
    return records


def watch(records: Records, left: dict[str, tuple[int, str]]) -> tuple[dict[str, Any], list[int]]:
    """The lists, and the number of customers that the batch adds to each."""
    names = [f"c{i}" for i in range(len(records))]
    found = ChurnTracker(STANDING, left, horizon_days=8)
    added = found.add(CustomerBatch(names, records, CLOCK_US))
    return found.retention(), list(map(len, added))


def test_the_most_valuable_is_whose_persona_is_expected_to_buy_and_spend_the_most() -> None:
    assert SEGMENTS[STANDING.valued] == HIGH_VALUE


def test_who_left_and_still_spends_the_most_comes_first() -> None:
    retention, added = watch(
        customers(SHOWN + 5, segment=STUDENT), {f"c{i}": WENT for i in range(SHOWN + 5)}
    )
    assert added == [SHOWN + 5, 0]
    assert (retention["left_customers"], retention["leaving_customers"]) == (SHOWN + 5, 0)
    spends = [each["spend"] for each in retention["left"]]
    assert spends == [10.0 * n for n in range(SHOWN + 5, 5, -1)]
    assert {each["segment"] for each in retention["left"]} == {STUDENTS}


def test_who_went_to_a_segment_that_spends_more_comes_after_the_others() -> None:
    fitted = generation()
    centroids = fitted.centroids.copy()
    centroids[STUDENT, 1] = centroids[:, 1].max() + 1
    context = replace(STANDING, model=model_of(replace(fitted, centroids=centroids)))
    names, records = ["c0", "c1"], customers(2, segment=[0, STUDENT])
    found = ChurnTracker(context, {"c0": WENT, "c1": WENT}, horizon_days=8)
    found.add(CustomerBatch(names, records, CLOCK_US))
    assert [each["segment"] for each in found.retention()["left"]] == [SEGMENTS[0], STUDENTS]


@pytest.mark.parametrize("fields", [{"profiling": 0}, {"suppressed": True}])
def test_who_must_not_be_profiled_is_on_no_list(fields: dict[str, Any]) -> None:
    _, added = watch(customers(1, segment=-1, **fields), {"c0": WENT})
    assert added == [0, 0]


def test_who_came_back_has_not_left() -> None:
    retention, _ = watch(customers(1, segment=VALUED), {"c0": WENT})
    assert retention["left"] == []


def test_who_has_nothing_but_little_in_the_window_is_about_to_leave() -> None:
    records = customers(2, segment=VALUED)
    records["counts"][1] = 30
    records["cents"][1] = 400_000
    retention, added = watch(records, {})
    assert added == [0, 1]
    [leaving] = retention["leaving"]
    assert leaving["spend"] == 10.0
    assert leaving["margin"] < 0
