"""Verify detects diverging clocks, by the time that each server reports."""

import pytest

from livesegments.operations.verify.clocks import TOLERANCE_US, Clocks, check_clocks
from livesegments.operations.verify.report import Check
from livesegments.operations.verify.store_reader import Cut
from tests.consumers.harness import record

NOW_US = 20_000 * 86_400_000_000
YEARS_US = 730 * 86_400_000_000


def faults(
    *, clock_us: int = NOW_US, redis_us: int = NOW_US, dated_us: int = NOW_US, kind: int = 1
) -> list[str]:
    check = Check("clocks", "")
    cut = Cut.of({b"clock_us": str(clock_us).encode()})
    last = record(
        "purchases.v1", 1, b"c", b"{}", timestamp_ms=dated_us // 1_000, timestamp_type=kind
    )
    check_clocks(check, "partition 0", cut, Clocks(NOW_US, redis_us, NOW_US), [last])
    return check.faults


def test_clocks_within_the_tolerance_are_no_fault() -> None:
    assert not faults(redis_us=NOW_US - TOLERANCE_US, clock_us=NOW_US + TOLERANCE_US)
    assert not faults(dated_us=0), "an old record says nothing of the broker's clock"
    assert not faults(dated_us=NOW_US + YEARS_US, kind=0), "nor does one that a producer dated"


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"clock_us": NOW_US + YEARS_US}, "its clock is 63,072,000 s ahead of Redis"),
        ({"redis_us": NOW_US - YEARS_US}, "Redis is 63,072,000 s behind the clock here"),
        ({"redis_us": NOW_US + YEARS_US}, "Redis is 63,072,000 s ahead of the clock here"),
        ({"dated_us": NOW_US + YEARS_US}, "the broker dated its last purchase 63,072,000 s ahead"),
    ],
)
def test_a_clock_that_is_years_off_is_named(wrong: dict[str, int], words: str) -> None:
    assert any(words in fault for fault in faults(**wrong)), faults(**wrong)
