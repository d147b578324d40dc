from datetime import UTC, datetime, timedelta

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from livesegments.contracts.timestamps import NO_SUCH_DATE, microseconds, rfc3339

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@given(st.lists(st.integers(-62_135_596_800_000_000, 253_402_300_799_999_999)))
def test_text_and_microseconds_are_inverse(micros: list[int]) -> None:
    texts = rfc3339(micros)
    assert microseconds(texts).tolist() == micros
    assert [
        (datetime.fromisoformat(text) - EPOCH) // timedelta(microseconds=1) for text in texts
    ] == micros


def test_text_is_utc_with_six_digits() -> None:
    assert rfc3339(np.array([0, 1_771_999_200_000_001])) == [
        "1970-01-01T00:00:00.000000Z",
        "2026-02-25T06:00:00.000001Z",
    ]


def test_a_day_that_does_not_exist_spoils_only_itself() -> None:
    texts = ["2026-02-30T00:00:00+01:00", "2026-02-25T07:00:00+01:00", "2026-02-25T00:30:00-05:30"]
    assert microseconds(texts).tolist() == [
        NO_SUCH_DATE,
        1_771_999_200_000_000,
        1_771_999_200_000_000,
    ]
