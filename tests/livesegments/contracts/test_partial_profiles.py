"""A consent that can be read counts, although the record that states it is refused."""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from livesegments.contracts.dead_letters import Reason, Rejection
from livesegments.contracts.decode import Profiles, decode_profiles
from livesegments.ingest.file_formats import FileError
from livesegments.ingest.files import BrokenRowError, read_events
from tests.livesegments.contracts.records import TIMESTAMP_MS, dumped, profile
from tests.livesegments.contracts.test_cases import CASES, lines_of
from tests.livesegments.ingest.rows import csv_of

NOW_US = TIMESTAMP_MS * 1000
NO = {"profiling": False}


def decoded(
    value: bytes, key: bytes = b"c-1", timestamp_ms: int = TIMESTAMP_MS, *, required: bool = False
) -> tuple[dict[str, Any] | None, Rejection | None]:
    """The columns of a profile, None if nothing of it counts, and its rejection."""
    profiles, rejections = decode_profiles(
        [key], [value], [timestamp_ms], consent_required=required
    )
    assert len(rejections) <= 1
    rows = [
        {name: getattr(profiles, name)[at] for name in Profiles.__dataclass_fields__}
        for at in range(len(profiles.row))
    ]
    assert len(rows) <= 1
    return rows[0] if rows else None, rejections[0] if rejections else None


def test_the_withdrawals_of_real_life_count() -> None:
    values = lines_of("consent.jsonl")
    keys = [b"42", b"42", b"43", b"44", b"45"]
    profiles, rejections = decode_profiles(keys, values, [0] * 5)
    assert profiles.customer_id == ["42", "42", "43", "44"]
    assert profiles.row.tolist() == [0, 1, 2, 3]
    assert profiles.profiling.tolist() == [0, -1, 0, 0]
    assert [each.row for each in rejections] == [2, 3, 4]
    assert rejections[0].message.startswith("income: must be a number above 0")
    assert rejections[1].message.startswith('location: must be "urban", "suburban" or "rural"')
    assert all("the consent in it counts all the same" in e.message for e in rejections[:2])
    assert rejections[2].message == (
        "consent: has a field other than marketing and profiling; is one of them misspelt?"
    )

    profiles, rejections = decode_profiles(keys, values, [0] * 5, consent_required=True)
    assert profiles.row.tolist() == [0, 2, 3]
    assert profiles.profiling.tolist() == [0, 0, 0]
    assert [each.row for each in rejections] == [1, 2, 3, 4]
    assert rejections[0].reason is Reason.CONSENT_MISSING
    assert rejections[0].message.startswith("consent: lacks marketing or profiling")


@pytest.mark.parametrize(
    ("wrong", "unknown"),
    [
        ({"income": 0}, "income"),
        ({"income": "1"}, "income"),
        ({"income": math.nan}, "income"),
        ({"age": -1}, "age"),
        ({"birth_year": 2030, "age": None}, "age"),
        ({"location": "Lyon"}, "urbanicity"),
        ({"location": {"city": ["Lyon"]}}, "urbanicity"),
    ],
)
def test_what_is_wrong_is_unknown_and_the_rest_is_known(
    wrong: dict[str, Any], unknown: str
) -> None:
    known = {"age": 37, "income": 5.0, "location": "urban"}
    row, refused = decoded(dumped(profile, **known | wrong, consent=NO))
    assert row is not None
    assert refused is not None
    assert refused.reason is Reason.SCHEMA_INVALID
    assert refused.message.startswith(f"{next(iter(wrong))}: ")
    columns = {"age": 37, "income": 5, "urbanicity": 1.0}
    assert math.isnan(row[unknown])
    del columns[unknown]
    assert {name: row[name] for name in columns} == columns
    assert (row["marketing"], row["profiling"], row["deleted"]) == (-1, 0, False)
    assert row["updated_at"] == NOW_US - 800_000_000


@pytest.mark.parametrize(
    ("time", "reason"),
    [
        (..., Reason.SCHEMA_INVALID),
        (None, Reason.SCHEMA_INVALID),
        (1_772_353_800, Reason.SCHEMA_INVALID),
        ("2026-02-30T00:00:00Z", Reason.SCHEMA_INVALID),
        ("1969-12-31T00:00:00Z", Reason.TOO_OLD),
        ("2999-01-01T00:00:00Z", Reason.FUTURE_DATED),
    ],
)
def test_a_time_that_cannot_be_is_that_of_the_record(time: object, reason: Reason) -> None:
    value = dumped(profile, updated_at=time, consent=NO)
    row, refused = decoded(value)
    assert row is not None
    assert refused is not None
    assert refused.reason is reason
    assert (row["updated_at"], row["profiling"]) == (NOW_US, 0)
    assert decoded(value, timestamp_ms=-1)[0] is not None
    row, _ = decoded(dumped(profile, updated_at=time, consent=NO, birth_year=1988))
    assert row is not None
    assert (row["updated_at"], row["age"]) == (NOW_US, 38)


@pytest.mark.parametrize(
    ("consent", "marketing", "profiling"),
    [
        ({"marketing": "yes", "profiling": False}, -1, 0),
        ({"marketing": False, "profilling": False}, 0, 0),
        ({"marketing": True, "profiling": "false"}, 1, 0),
        ({"marketing": True, "extra": 1}, 1, -1),
        ({"marketing": 0, "profiling": True}, 0, 1),
    ],
)
def test_of_consents_those_that_can_be_read_count(
    consent: dict[str, Any], marketing: int, profiling: int
) -> None:
    row, refused = decoded(dumped(profile, consent=consent))
    assert row is not None
    assert refused is not None
    assert refused.message.startswith("consent")
    assert (row["marketing"], row["profiling"]) == (marketing, profiling)


@pytest.mark.parametrize(
    ("value", "key"),
    [
        (dumped(profile, income=0), b"c-1"),
        (dumped(profile, income=0, consent=None), b"c-1"),
        (dumped(profile, income=0, consent={}), b"c-1"),
        (dumped(profile, consent={"profilling": False}), b"c-1"),
        (dumped(profile, consent="no"), b"c-1"),
        (dumped(profile, consent=NO), b"c-2"),
        (dumped(profile, income=0, consent=NO), b"c-2"),
        (dumped(profile, income=0, consent=NO, customer_id=" c-1"), b" c-1"),
        (dumped(profile, income=0, consent=NO, customer_id=...), b"c-1"),
        (dumped(profile, income=0, consent=NO)[:-1], b"c-1"),
        (b"[]", b"c-1"),
        (b"{}", b"c-1"),
    ],
)
def test_without_a_consent_or_its_customer_nothing_counts(value: bytes, key: bytes) -> None:
    row, refused = decoded(value, key)
    assert row is None
    assert refused is not None
    assert "counts all the same" not in refused.message


@pytest.mark.parametrize(
    ("consent", "effect"),
    [
        (..., None),
        (None, None),
        ({"profiling": True}, None),
        ({"marketing": True, "profiling": None}, None),
        ({"profiling": False}, (0, 0)),
        ({"marketing": False, "profiling": None}, (0, 0)),
        ({"marketing": True, "profiling": False}, (1, 0)),
    ],
)
def test_required_consents_are_asked_for_and_no_partial_profile_ends_a_refusal(
    consent: object, effect: tuple[int, int] | None
) -> None:
    is_complete = effect == (1, 0)
    for wrong in ({}, {"income": 0}):
        row, refused = decoded(dumped(profile, **wrong, consent=consent), required=True)
        assert (row and (row["marketing"], row["profiling"])) == effect
        assert (refused is None) == (is_complete and not wrong)
        if refused and not wrong:
            assert refused.reason is Reason.CONSENT_MISSING
        # A tombstone states no consent, and is valid.
    profiles, rejections = decode_profiles([b"c-1"], [None], [0], consent_required=True)
    assert (profiles.deleted.tolist(), rejections) == ([True], [])


def test_whole_and_partial_profiles_of_a_batch_come_in_their_order() -> None:
    values = [
        dumped(profile, age=age, income=income, consent=NO)
        for age, income in ((20, 0), (21, 5), (22, 0), (23, 5))
    ]
    profiles, rejections = decode_profiles([b"c-1"] * 5, [*values, b"{"], [0] * 5)
    assert profiles.row.tolist() == [0, 1, 2, 3]
    assert profiles.age.tolist() == [20, 21, 22, 23]
    assert np.isnan(profiles.income).tolist() == [True, False, True, False]
    assert [each.row for each in rejections] == [0, 2, 4]


def test_in_files_withdrawals_take_effect_and_a_misspelt_consent_is_refused(tmp_path: Path) -> None:
    broken: list[BrokenRowError] = []
    read = list(read_events(CASES / "consent.jsonl", "profiles", on_broken=broken.append))
    values = [json.loads(record.value or b"") for record in read]
    assert [value.get("consent", {}).get("profiling") for value in values] == [
        False,
        None,
        False,
        False,
    ]
    assert [(each.line, each.field) for each in broken] == [
        (3, "income"),
        (4, "location"),
        (5, "consent"),
    ]
    path = csv_of(tmp_path / "p.csv", "customer_id,updated_at,profilling_consent")
    with pytest.raises(FileError, match="column profilling_consent: is no consent"):
        list(read_events(path, "profiles"))
