"""Moves between segments in a period, from the history."""

import duckdb
import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from livesegments.analysis.pages.segments import DAY_S, HOUR_S, Period, moves
from livesegments.analysis.transitions import TransitionCounts
from tests.consumers.harness import HIGH_VALUE, SEGMENTS, STUDENTS

FIRST, DAYS = 100, 10
PERIOD = Period(DAY_S, range(FIRST, FIRST + DAYS))

Move = tuple[float, str | None, str | None, str]
"""Day, segment before and after, origin."""


def counted(found: list[Move], period: Period = PERIOD) -> TransitionCounts:
    with duckdb.connect() as connection:
        connection.execute(
            "CREATE TABLE moves (hour TIMESTAMP, previous VARCHAR, segment VARCHAR, origin VARCHAR,"
            " changes BIGINT)"
        )
        for day, before, after, origin in found:
            connection.execute(
                "INSERT INTO moves VALUES (date_trunc('hour', make_timestamp(?)), ?, ?, ?, 1)",
                [round(day * DAY_S * 1e6), before, after, origin],
            )
        return moves(connection, SEGMENTS, period)


@given(
    st.lists(
        st.tuples(
            st.integers(0, 7),
            st.sampled_from([None, *SEGMENTS]),
            st.floats(0, 3, allow_nan=False),
        ),
        max_size=30,
    )
)
def test_sizes_walked_back_from_now_are_those_of_each_day(
    how: list[tuple[int, str | None, float]],
) -> None:
    where, day = dict[int, str | None](), FIRST - 5.0
    made: list[Move] = []
    sizes = np.zeros((DAYS, len(SEGMENTS)), np.int64)
    for customer, to, gap in how:
        day = min(day + gap, FIRST + DAYS - 0.01)
        before = where.get(customer)
        if before != to:
            made.append((day, before, to, "live"))
            where[customer] = to
        for later in range(max(int(day) - FIRST, 0), DAYS):
            sizes[later] = [list(where.values()).count(each) for each in SEGMENTS]
    now = [list(where.values()).count(each) for each in SEGMENTS]
    found = counted(made)
    assert found.sizes(PERIOD.steps, now) == dict(
        zip(SEGMENTS, map(tuple, sizes.T.tolist()), strict=True)
    )
    occupied = [day for day, row in zip(PERIOD.steps, sizes, strict=True) if row.any()] or [FIRST]
    assert found.since_first(PERIOD.steps, now)[0] == occupied[0]


def test_moves_are_counted_by_day_and_origin_and_those_before_the_period_are_not() -> None:
    found = counted(
        [
            (FIRST - 0.1, None, STUDENTS, "live"),
            (FIRST + 0.1, STUDENTS, HIGH_VALUE, "live"),
            (FIRST + 2.5, None, STUDENTS, "backfill"),
            (FIRST + 2.6, STUDENTS, None, "expiry"),
            (FIRST + DAYS + 1, STUDENTS, HIGH_VALUE, "live"),
            (FIRST + 3, "one of a former segmentation", HIGH_VALUE, "live"),
        ]
    )
    transitions = found.transitions()
    assert sum(sum(to.values()) for to in transitions.values()) == 5
    assert transitions[STUDENTS][HIGH_VALUE] == 2
    assert found.by_day(PERIOD.steps) == {
        "expiry": (0, 0, 1, *[0] * 7),
        "live": (1, *[0] * 8, 1),
    }


def test_a_period_ends_with_the_step_of_the_clock() -> None:
    clock_us = (20_000 * 24 + 5) * HOUR_S * 1_000_000
    day = Period.until(clock_us, 24, HOUR_S)
    assert day.labels(day.steps)[::23] == ["2024-10-03T06", "2024-10-04T05"]
    month = Period.until(clock_us, 30)
    assert month.labels(month.steps)[::29] == ["2024-09-05", "2024-10-04"]
    assert month.start_us == (20_000 - 29) * DAY_S * 1_000_000
