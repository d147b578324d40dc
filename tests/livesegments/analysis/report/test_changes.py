"""Totals computed from the change log."""

import json
from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from livesegments.analysis.report.changes import PeriodChanges
from tests.consumers.harness import DAY, HIGH_VALUE, SEGMENTS, STUDENTS, at

FIRST, DAYS = 100, 10
PERIOD = range(FIRST, FIRST + DAYS)


class Record:
    def __init__(self, **fields: Any) -> None:
        self.value = json.dumps(fields).encode()


def change(
    customer: str, day: float, before: str | None, after: str | None, origin: str = "live"
) -> Any:
    return Record(
        customer_id=customer,
        previous_segment=before and {"id": before, "name": before},
        segment=after and {"id": after, "name": after},
        occurred_at=at(day),
        origin=origin,
        version=1,
        confidence=None,
    )


def changes() -> PeriodChanges:
    return PeriodChanges(SEGMENTS, HIGH_VALUE, PERIOD)


@given(
    st.lists(
        st.tuples(
            st.integers(0, 7),
            st.sampled_from([None, *SEGMENTS]),
            st.floats(0, 3, allow_nan=False),
        ),
        max_size=60,
    )
)
def test_sizes_walked_back_from_now_are_those_of_each_day(
    moves: list[tuple[int, str | None, float]],
) -> None:
    found, where, day = changes(), dict[int, str | None](), FIRST - 5.0
    sizes = np.zeros((DAYS, len(SEGMENTS)), np.int64)
    for customer, to, gap in moves:
        day = min(day + gap, FIRST + DAYS - 0.01)
        before = where.get(customer)
        if before != to:
            found.add([change(f"c{customer}", day, before, to)])
            where[customer] = to
        for later in range(max(int(day) - FIRST, 0), DAYS):
            sizes[later] = [list(where.values()).count(each) for each in SEGMENTS]
    now = [list(where.values()).count(each) for each in SEGMENTS]
    walked = found.counts.sizes(PERIOD, now)
    assert walked == dict(zip(SEGMENTS, map(tuple, sizes.T.tolist()), strict=True))
    occupied = [day for day, row in zip(PERIOD, sizes, strict=True) if row.any()] or [FIRST]
    assert found.counts.since_first(PERIOD, now)[0] == occupied[0]


def test_moves_are_counted_by_day_and_origin_and_those_before_the_period_are_not() -> None:
    found = changes()
    found.add(
        [
            change("a", FIRST - 0.1, None, STUDENTS),
            change("a", FIRST + 0.1, STUDENTS, HIGH_VALUE),
            change("b", FIRST + 2.5, None, STUDENTS, "backfill"),
            change("b", FIRST + 2.6, STUDENTS, None, "expiry"),
        ]
    )
    transitions = found.counts.transitions()
    assert sum(sum(to.values()) for to in transitions.values()) == 3
    assert transitions[STUDENTS][HIGH_VALUE] == 1
    assert found.counts.by_day(PERIOD) == {
        "expiry": (0, 0, 1, *[0] * 7),
        "live": (1, *[0] * 9),
    }


def test_whoever_left_is_remembered_until_they_return_or_are_erased() -> None:
    found = changes()
    found.add([change(name, FIRST - 3, None, HIGH_VALUE) for name in "abcd"])
    found.add([change(name, FIRST + 1, HIGH_VALUE, STUDENTS, "expiry") for name in "abcd"])
    found.add([change("a", FIRST + 2, STUDENTS, HIGH_VALUE)])
    found.add([change("b", FIRST + 3, STUDENTS, None, "erasure")])
    found.add([change("c", FIRST + 4, STUDENTS, SEGMENTS[1])])
    gone = ((FIRST + 1) * DAY, "expiry")
    assert found.left == {"c": gone, "d": gone}


def test_who_left_before_the_period_is_not_among_them() -> None:
    found = changes()
    found.add([change("a", FIRST - 1, HIGH_VALUE, STUDENTS)])
    assert found.left == {}
