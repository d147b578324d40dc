import random
from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from livesegments.contracts.dead_letters import Reason, Rejection
from tests.livesegments.contracts.records import (
    EPOCH,
    TIMESTAMP_MS,
    Record,
    decoded,
    dumped,
    micros,
    purchase,
)
from tests.livesegments.contracts.test_hostile_purchases import odd_records

OF_SETTINGS_AND_SOURCES = {
    *(Reason.CONSENT_MISSING, Reason.WRONG_PARTITION),
    *(Reason.UNDECODABLE, Reason.QUERY_FAILED),
}


def test_in_10_000_mixed_records_each_bad_one_is_refused_once_and_each_good_one_is_exact() -> None:
    rng = random.Random(20260225)
    odd = odd_records()
    records: list[Record] = []
    expected_reasons: dict[int, Reason] = {}
    expected_rows: dict[int, tuple[str, str, int, int, int]] = {}
    for row in range(10_000):
        if rng.random() < 0.2:
            record, reason = rng.choice(odd)
            expected_reasons[row] = reason
        else:
            cents = rng.randrange(1, 10**7)
            kind = rng.choice(["purchase", "purchase", "refund"])
            instant = EPOCH + timedelta(microseconds=rng.randrange(TIMESTAMP_MS * 1000))
            customer_id = f"customer-{rng.randrange(500)}"
            value = dumped(
                purchase,
                event_id=f"e-{row}",
                customer_id=customer_id,
                occurred_at=instant.isoformat(),
                kind=kind,
                amount=rng.choice([cents / 100, f"{cents // 100}.{cents % 100:02d}"]),
            )
            record = (customer_id.encode(), value, TIMESTAMP_MS)
            sign, count = (-1, 0) if kind == "refund" else (1, 1)
            expected_rows[row] = (customer_id, f"e-{row}", micros(instant), sign * cents, count)
        records.append(record)

    purchases, rejections = decoded(records)

    assert {rejection.row: rejection.reason for rejection in rejections} == expected_reasons
    assert [rejection.row for rejection in rejections] == sorted(expected_reasons)
    assert set(expected_reasons.values()) == set(Reason) - OF_SETTINGS_AND_SOURCES
    columns = zip(
        purchases.customer_id,
        purchases.event_id,
        purchases.occurred_at.tolist(),
        purchases.cents.tolist(),
        purchases.count.tolist(),
        strict=True,
    )
    assert dict(zip(purchases.row.tolist(), columns, strict=True)) == expected_rows
    assert purchases.row.tolist() == sorted(expected_rows)


GOOD: list[Record] = [
    (b"c-1", dumped(purchase), TIMESTAMP_MS),
    (b"c-2", dumped(purchase, customer_id="c-2", amount="3.335", kind="refund"), TIMESTAMP_MS),
    (b"c-3", dumped(purchase, customer_id="c-3", occurred_at="2026-02-25T06:00:00+05:30"), -1),
]


@given(
    st.lists(
        st.one_of(
            st.sampled_from(GOOD),
            st.sampled_from([record for record, _ in odd_records()]),
            st.tuples(
                st.none() | st.binary(max_size=8),
                st.none() | st.binary(max_size=40),
                st.integers(-1, 2**62),
            ),
        ),
        max_size=12,
    )
)
def test_a_record_is_judged_the_same_alone_and_in_any_batch(records: list[Record]) -> None:
    together, rejections = decoded(records)
    rows, refusals = [], []
    for row, record in enumerate(records):
        alone, refusal = decoded([record])
        refusals += [Rejection(row, one.reason, one.message) for one in refusal]
        rows += [
            (row, *columns)
            for columns in zip(
                alone.customer_id,
                alone.event_id,
                alone.occurred_at.tolist(),
                alone.cents.tolist(),
                alone.count.tolist(),
                strict=True,
            )
        ]
    assert rejections == refusals
    assert rows == list(
        zip(
            together.row.tolist(),
            together.customer_id,
            together.event_id,
            together.occurred_at.tolist(),
            together.cents.tolist(),
            together.count.tolist(),
            strict=True,
        )
    )
