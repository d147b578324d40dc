from datetime import UTC, datetime, timedelta, timezone
from decimal import ROUND_HALF_EVEN, Decimal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.livesegments.contracts.records import (
    TIMESTAMP_MS,
    accepted,
    decoded,
    dumped,
    micros,
    purchase,
)


def test_a_purchase_becomes_one_row_of_columns() -> None:
    purchases = accepted(dumped(purchase, items=3, category="dairy", channel="web"))
    assert purchases.customer_id == ["c-1"]
    assert purchases.event_id == ["e-1"]
    assert purchases.occurred_at.tolist() == [micros(datetime(2026, 2, 25, 6, tzinfo=UTC))]
    assert purchases.cents.tolist() == [1234]
    assert purchases.count.tolist() == [1]
    assert purchases.row.tolist() == [0]


def test_a_refund_lowers_the_spend_and_not_the_count() -> None:
    purchases = accepted(dumped(purchase, kind="refund"))
    assert purchases.cents.tolist() == [-1234]
    assert purchases.count.tolist() == [0]


def test_columns_are_64_bit_integers_even_of_an_empty_batch() -> None:
    for purchases, rejections in (decoded([]), decoded([(b"c-1", b"{", TIMESTAMP_MS)])):
        assert len(rejections) in (0, 1)
        assert purchases.customer_id == purchases.event_id == []
        for column in (purchases.row, purchases.occurred_at, purchases.cents, purchases.count):
            assert column.dtype == np.int64
            assert column.shape == (0,)


@pytest.mark.parametrize(
    ("amount", "cents"),
    [
        ("12.34", 1234),
        ("12", 1200),
        ("0.10", 10),
        ("0.001", 0),
        ("10000000000", 10**12),
        ("10000000000.00", 10**12),
        ("9999999999.99", 10**12 - 1),
        (10_000_000_000, 10**12),
        (5, 500),
        (1e-300, 0),
        (0.125, 12),
        (0.135, 14),
        (1.005, 100),  # less than half as a double
        (1.015, 102),  # less than half as a double
        ("1.015", 102),
        ("1.0150000000000000000000001", 102),
        ("1.00500000000000000000000001", 101),
        (1234567890.125, 123456789012),
        (1234567890.135, 123456789014),
    ],
)
def test_amounts_round_half_to_even_as_the_decimals_they_are_written_as(
    amount: float | str, cents: int
) -> None:
    assert accepted(dumped(purchase, amount=amount)).cents.tolist() == [cents]


@given(
    st.decimals(min_value="0.0001", max_value=10**10, places=4).filter(lambda amount: amount > 0),
    st.booleans(),
)
def test_any_amount_is_its_exact_decimal_in_cents(amount: Decimal, quoted: bool) -> None:
    written = f'"{amount:f}"' if quoted else f"{amount:f}"
    value = dumped(purchase, amount="AMOUNT").replace(b'"AMOUNT"', written.encode())
    expected = int(amount.quantize(Decimal("0.01"), ROUND_HALF_EVEN) * 100)
    assert accepted(value).cents.tolist() == [expected]


@given(
    st.datetimes(
        min_value=datetime(1970, 1, 2),  # noqa: DTZ001 - hypothesis adds the zone
        max_value=datetime(2999, 1, 1),  # noqa: DTZ001
        timezones=st.integers(-23 * 60, 23 * 60).map(
            lambda minutes: timezone(timedelta(minutes=minutes))
        ),
    ),
    st.sampled_from(["auto", "microseconds", "nanoseconds"]),
)
def test_any_time_with_an_offset_is_its_exact_microsecond(instant: datetime, digits: str) -> None:
    text = instant.isoformat(timespec="auto" if digits == "auto" else "microseconds")
    if digits == "nanoseconds":
        text = f"{text[:26]}999{text[26:]}"
    if text.endswith("+00:00"):
        text = text.removesuffix("+00:00") + "Z"
    purchases = accepted(dumped(purchase, occurred_at=text), timestamp_ms=0)
    assert purchases.occurred_at.tolist() == [micros(instant)]


@pytest.mark.parametrize("customer_id", ["é" * 128, "客户-1", "a b", "😀", '"', "\\", "c/1", "{}"])
def test_ids_are_any_text_without_control_characters(customer_id: str) -> None:
    value = dumped(purchase, customer_id=customer_id)
    assert accepted(value, key=customer_id.encode()).customer_id == [customer_id]


def test_unknown_fields_are_ignored_and_null_is_absent() -> None:
    value = dumped(purchase, items=None, category=None, channel=None, extra={"deep": [1, None]})
    assert accepted(value).cents.tolist() == [1234]
