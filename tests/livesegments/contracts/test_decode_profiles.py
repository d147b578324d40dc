import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from livesegments.contracts.dead_letters import Reason, Rejection
from livesegments.contracts.decode import Profiles, decode_profiles
from livesegments.contracts.validation import MAX_BYTES
from tests.livesegments.contracts.records import TIMESTAMP_MS, Record, dumped, profile


def accepted(
    value: bytes | None, key: bytes = b"c-1", timestamp_ms: int = TIMESTAMP_MS
) -> dict[str, Any]:
    """The single row of the decoded profile, by column."""
    profiles, rejections = decode_profiles([key], [value], [timestamp_ms])
    assert rejections == []
    return {name: getattr(profiles, name)[0] for name in Profiles.__dataclass_fields__}


def refused(
    value: bytes | None, key: bytes | None = b"c-1", timestamp_ms: int = TIMESTAMP_MS
) -> Rejection:
    profiles, (rejection,) = decode_profiles([key], [value], [timestamp_ms])
    assert all(len(getattr(profiles, name)) == 0 for name in Profiles.__dataclass_fields__)
    assert rejection.row == 0
    return rejection


def _each(field: str, *values: object) -> list[tuple[str, dict[str, Any]]]:
    return [(field, {field: value}) for value in values]


def test_a_full_profile_becomes_one_row_of_columns() -> None:
    row = accepted(
        dumped(
            profile,
            age=37.5,
            income=52_000,
            location="suburban",
            consent={"marketing": True, "profiling": False},
        )
    )
    assert row == {
        "row": 0,
        "customer_id": "c-1",
        "updated_at": 1_771_999_200_000_000,
        "deleted": False,
        "age": 37.5,
        "income": 52_000.0,
        "urbanicity": 0.5,
        "marketing": 1,
        "profiling": 0,
    }


@pytest.mark.parametrize(
    "value",
    [
        dumped(profile),
        dumped(profile, age=None, birth_year=None, income=None, location=None, consent=None),
        dumped(profile, consent={}, extra=1),
        dumped(profile, consent={"marketing": None, "profiling": None}),
    ],
)
def test_what_is_absent_or_null_is_unknown(value: bytes) -> None:
    row = accepted(value)
    assert not row["deleted"]
    assert np.isnan([row["age"], row["income"], row["urbanicity"]]).all()
    assert (row["marketing"], row["profiling"]) == (-1, -1)


@pytest.mark.parametrize(
    ("location", "urbanicity"), [("rural", 0.0), ("suburban", 0.5), ("urban", 1.0)]
)
def test_urbanicity_of_each_location(location: str, urbanicity: float) -> None:
    assert accepted(dumped(profile, location=location))["urbanicity"] == urbanicity


def test_columns_have_fixed_types_even_of_an_empty_batch() -> None:
    profiles, rejections = decode_profiles([], [], [])
    assert rejections == []
    types = {
        name: getattr(profiles, name).dtype.name
        for name in Profiles.__dataclass_fields__
        if name != "customer_id"
    }
    assert types == {
        "row": "int64",
        "updated_at": "int64",
        "deleted": "bool",
        "age": "float64",
        "income": "float64",
        "urbanicity": "float64",
        "marketing": "int8",
        "profiling": "int8",
    }


def test_a_birth_year_gives_the_age_in_the_utc_year_of_the_update() -> None:
    assert accepted(dumped(profile, birth_year=1980))["age"] == 46
    new_year = "2026-01-01T00:30:00+01:00"
    assert accepted(dumped(profile, birth_year=1980, updated_at=new_year))["age"] == 45
    assert accepted(dumped(profile, birth_year=2026))["age"] == 0
    assert accepted(dumped(profile, birth_year=1896))["age"] == 130


def test_an_age_wins_over_a_birth_year() -> None:
    assert accepted(dumped(profile, age=30, birth_year=1980))["age"] == 30
    assert accepted(dumped(profile, age=0, birth_year=2100))["age"] == 0
    assert accepted(dumped(profile, age=None, birth_year=1980))["age"] == 46


@pytest.mark.parametrize("birth_year", [1849, 1895, 2027, 2200, 2201, 1980.5, "1980", True])
def test_a_birth_year_that_gives_no_human_age_is_schema_invalid(birth_year: object) -> None:
    rejection = refused(dumped(profile, birth_year=birth_year))
    assert rejection.reason is Reason.SCHEMA_INVALID
    assert rejection.message.startswith("birth_year: ")


@pytest.mark.parametrize(
    ("field", "changes"),
    [
        ("customer_id", {"customer_id": ...}),
        ("updated_at", {"updated_at": ...}),
        ("updated_at", {"updated_at": "2026-02-25T06:00:00"}),
        ("updated_at", {"updated_at": "2026-02-30T06:00:00Z"}),
        ("updated_at", {"updated_at": 1_771_999_200}),
        *_each("age", -1, 130.5, "30", True, math.nan, []),
        *_each("income", 0, -5, 1.1e12, "50000", False, math.nan, math.inf),
        *_each("location", "Urban", "city", "", 1, []),
        ("consent", {"consent": True}),
        ("consent", {"consent": {"profilling": False}}),
        ("consent.marketing", {"consent": {"marketing": 1}}),
        ("consent.marketing", {"consent": {"marketing": "yes"}}),
        ("consent.profiling", {"consent": {"profiling": "false"}}),
    ],
)
def test_a_wrong_field_is_schema_invalid_and_named(field: str, changes: dict[str, Any]) -> None:
    rejection = refused(dumped(profile, **changes))
    assert rejection.reason is Reason.SCHEMA_INVALID
    assert rejection.message.startswith(f"{field}: ")


def test_a_null_value_deletes_the_profile_as_of_its_record() -> None:
    row = accepted(None, key="zoë".encode())
    assert row["deleted"]
    assert row["customer_id"] == "zoë"
    assert row["updated_at"] == TIMESTAMP_MS * 1000
    assert np.isnan([row["age"], row["income"], row["urbanicity"]]).all()
    assert (row["marketing"], row["profiling"]) == (-1, -1)


@pytest.mark.parametrize("timestamp_ms", [0, -1, -(2**63)])
def test_a_null_value_of_no_time_deletes_as_well(timestamp_ms: int) -> None:
    row = accepted(None, timestamp_ms=timestamp_ms)
    assert row["deleted"]
    assert row["updated_at"] == 0


@pytest.mark.parametrize(
    ("key", "reason"),
    [
        (None, Reason.KEY_MISMATCH),
        (b"", Reason.SCHEMA_INVALID),
        (b"\xff", Reason.SCHEMA_INVALID),
        (b"\xed\xa0\x80", Reason.SCHEMA_INVALID),
        (b"c\n1", Reason.SCHEMA_INVALID),
        (b"c" * 129, Reason.SCHEMA_INVALID),
        (b"c" * (MAX_BYTES + 1), Reason.TOO_LARGE),
    ],
)
def test_a_null_value_needs_the_key_of_a_customer(key: bytes | None, reason: Reason) -> None:
    rejection = refused(None, key=key)
    assert rejection.reason is reason
    assert rejection.message.startswith("key")


def test_keys_and_times_are_held_to_the_same_as_those_of_purchases() -> None:
    assert refused(dumped(profile), key=None).reason is Reason.KEY_MISMATCH
    assert refused(dumped(profile), key=b"c-2").reason is Reason.KEY_MISMATCH
    early = dumped(profile, updated_at="1969-12-31T00:00:00Z")
    assert refused(early).reason is Reason.TOO_OLD
    late = dumped(profile, updated_at="2026-02-25T06:18:21Z")
    assert refused(late).reason is Reason.FUTURE_DATED
    assert accepted(late, timestamp_ms=-1)["row"] == 0
    assert refused(b"{").reason is Reason.NOT_JSON


def test_a_time_that_is_after_the_year_9999_in_utc_is_none_even_without_one_of_the_record() -> None:
    last = dumped(profile, updated_at="9999-12-31T23:59:59.999999999Z")
    assert accepted(last, timestamp_ms=0)["row"] == 0
    beyond = dumped(profile, updated_at="9999-12-31T23:59:59-00:01")
    for timestamp_ms in (0, -1, 2**63 - 1):
        rejection = refused(beyond, timestamp_ms=timestamp_ms)
        assert rejection.reason is Reason.SCHEMA_INVALID
        assert rejection.message == "updated_at: is no date of the calendar"


RECORDS: list[Record] = [
    (b"c-1", dumped(profile, age=37.5, income=1.0, location="rural"), TIMESTAMP_MS),
    (b"c-1", dumped(profile, birth_year=1980, consent={"marketing": True}), TIMESTAMP_MS),
    (b"c-1", dumped(profile, birth_year=2100), TIMESTAMP_MS),
    (b"c-1", dumped(profile, updated_at="2026-02-30T00:00:00-01:00"), TIMESTAMP_MS),
    (b"c-1", dumped(profile, updated_at="2027-02-28T00:00:00-01:00"), TIMESTAMP_MS),
    (b"c-2", dumped(profile), TIMESTAMP_MS),
    (None, dumped(profile), TIMESTAMP_MS),
    (b"c-1", None, TIMESTAMP_MS),
    (b"c-2", None, 0),
    (b"\xff", None, TIMESTAMP_MS),
    (None, None, TIMESTAMP_MS),
    (b"c-1", b"{", TIMESTAMP_MS),
]


def plain(profiles: Profiles) -> list[tuple[object, ...]]:
    columns = [
        np.asarray(getattr(profiles, name)).tolist() for name in Profiles.__dataclass_fields__
    ]
    # NaN is not equal to itself; its text is.
    return [tuple(map(str, row)) for row in zip(*columns, strict=True)]


@given(st.lists(st.sampled_from(RECORDS), max_size=12))
def test_a_record_is_judged_the_same_alone_and_in_any_batch(records: list[Record]) -> None:
    keys, values, timestamps_ms = zip(*records, strict=True) if records else ((), (), ())
    together, rejections = decode_profiles(keys, values, timestamps_ms)
    rows: list[tuple[object, ...]] = []
    refusals = []
    for row, (key, value, timestamp_ms) in enumerate(records):
        alone, refusal = decode_profiles([key], [value], [timestamp_ms])
        rows += [(str(row), *columns[1:]) for columns in plain(alone)]
        refusals += [Rejection(row, one.reason, one.message) for one in refusal]
    assert plain(together) == rows
    assert rejections == refusals
