"""Record timestamps in any unit, read without a clock."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from livesegments.contracts.decode import decode_purchases
from livesegments.contracts.timestamps import record_times_us, units

YEAR_2000, YEAR_2200 = 946_684_800, 7_258_118_400
TIME = st.integers(YEAR_2000, YEAR_2200)


@given(st.lists(TIME, min_size=1))
def test_a_time_is_the_same_in_every_unit(seconds: list[int]) -> None:
    wanted = [each * 1_000_000 for each in seconds]
    for factor, unit in (
        (1, "seconds"),
        (10**3, "milliseconds"),
        (10**6, "microseconds"),
        (10**9, "nanoseconds"),
    ):
        sent = [each * factor for each in seconds]
        assert record_times_us(sent).tolist() == wanted
        assert set(units(sent)) == {unit}


@given(st.lists(st.integers(-(2**63), 2**63 - 1), max_size=20))
def test_any_number_is_none_or_a_time_of_this_era_whatever_is_beside_it(sent: list[int]) -> None:
    found = record_times_us(sent)
    assert found.tolist() == [int(record_times_us(each)) for each in sent]
    assert np.all((found == 0) | (found >= YEAR_2000 * 1_000_000))
    assert np.all(found < 253_402_300_800_000_000)


@pytest.mark.parametrize("sent", [-1, 0, 1, 5_000, 900_000_000])
def test_what_is_no_time_in_any_unit_is_none(sent: int) -> None:
    assert record_times_us(sent) == 0


@pytest.mark.parametrize(
    ("timestamp", "occurred_at", "reason"),
    [
        (1772354000, "2026-03-01T08:33:20Z", None),
        (1772354000000000, "2026-03-01T08:33:20Z", None),
        (1717229600000, "2024-06-01T08:13:20Z", None),
        (1772354000, "2026-03-01T08:38:30Z", "future_dated"),
        (1772354000000000, "2026-03-01T08:38:30Z", "future_dated"),
        (1772354000000000000, "2026-03-01T08:38:30Z", "future_dated"),
    ],
)
def test_a_purchase_is_judged_by_the_time_that_its_timestamp_means(
    timestamp: int, occurred_at: str, reason: str | None
) -> None:
    purchase = {"event_id": "e", "customer_id": "c", "occurred_at": occurred_at}
    value = json.dumps({**purchase, "kind": "purchase", "amount": 5, "currency": "USD"}).encode()
    found, rejected = decode_purchases([b"c"], [value], [timestamp], currency="USD")
    assert [each.reason.value for each in rejected] == ([] if reason is None else [reason])
    assert len(found.row) == (reason is None)
