"""Comparison of the local clock with other clocks."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from livesegments.consumers.clocks import (
    TOLERANCE_US,
    Evidence,
    bounded,
    compare,
)

YEARS_US = 730 * 86_400_000_000
MOMENTS = st.integers(0, 2**50)


def redis(shows_us: int, before_us: int = 0, after_us: int = 0) -> Evidence:
    return Evidence("redis", "Redis there", shows_us, before_us, after_us)


def broker(shows_us: int, now_us: int = 0) -> Evidence:
    return Evidence("kafka", "the broker", shows_us, now_us, now_us)


def wrong(*evidence: Evidence) -> str:
    return compare(evidence)[1]


@given(MOMENTS, MOMENTS, MOMENTS, st.integers(-YEARS_US, YEARS_US))
def test_a_clock_is_never_found_further_off_than_it_is(
    asked: int, shown: int, answered: int, error_us: int
) -> None:
    true = sorted((asked, shown, answered))
    found = redis(true[1], true[0] + error_us, true[2] + error_us).error_us
    assert abs(found) <= abs(error_us)
    assert found * error_us >= 0


@given(MOMENTS, st.integers(0, 10_000_000), st.integers(-YEARS_US, YEARS_US))
def test_with_an_answer_at_once_all_of_the_error_is_found(
    asked: int, took: int, error_us: int
) -> None:
    found = redis(asked + took, asked + error_us, asked + took + error_us).error_us
    assert abs(abs(error_us) - abs(found)) <= took


def test_a_worker_that_stood_still_while_it_asked_proves_nothing() -> None:
    assert not wrong(redis(shows_us=10, before_us=0, after_us=YEARS_US))


def test_an_old_record_says_nothing_and_a_later_one_that_the_clock_is_behind() -> None:
    assert not wrong(broker(shows_us=0, now_us=YEARS_US))
    assert wrong(broker(shows_us=YEARS_US)) == "the clock here is 730 days behind the broker"


@pytest.mark.parametrize("error_us", [-TOLERANCE_US, TOLERANCE_US])
def test_five_minutes_are_borne_and_no_more(error_us: int) -> None:
    assert not wrong(redis(YEARS_US, YEARS_US + error_us, YEARS_US + error_us))
    more = error_us + (1 if error_us > 0 else -1)
    assert wrong(redis(YEARS_US, YEARS_US + more, YEARS_US + more))


def test_the_worst_is_named_and_who_agrees() -> None:
    other, third = (
        Evidence("redis", name, shows_us, YEARS_US, YEARS_US)
        for name, shows_us in (("another", 0), ("a third", YEARS_US // 2))
    )
    told = "the clock here is 730 days ahead of another; it agrees with Redis there"
    assert wrong(third, redis(YEARS_US, YEARS_US, YEARS_US), other) == told
    assert wrong(other, redis(YEARS_US, YEARS_US, YEARS_US), third) == told


def test_errors_are_the_largest_of_each_server() -> None:
    found = compare([redis(0, 5, 5), redis(9, 2, 2), broker(3, 9)])
    assert found == ({"redis": -7, "kafka": 0}, "")


@given(MOMENTS, MOMENTS)
def test_no_time_is_taken_beyond_the_evidence_and_none_that_is_within_is_changed(
    time_us: int, shown_us: int
) -> None:
    found = bounded(time_us, shown_us)
    assert found <= shown_us + TOLERANCE_US
    assert found == time_us or time_us > shown_us + TOLERANCE_US
