"""Times: everything that is read is the moment an independent parser sees, all else is refused."""

import re
from datetime import UTC, datetime, timedelta, timezone
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from livesegments.contracts.timestamps import (
    NOT_A_TIME,
    PATTERN,
    RFC3339_PATTERN,
    explain,
    microseconds,
    rfc3339,
)

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
BERLIN = ZoneInfo("Europe/Berlin")
MOMENT = 1_772_353_800_000_000  # 2026-03-01T08:30:00Z


def micros(moment: datetime) -> int:
    return (moment - EPOCH) // timedelta(microseconds=1)


@given(st.lists(st.integers(-62_135_596_800_000_000, 253_402_300_799_999_999)))
def test_text_and_microseconds_are_inverse(instants: list[int]) -> None:
    texts = rfc3339(instants)
    assert microseconds(texts).tolist() == instants
    assert [micros(datetime.fromisoformat(text)) for text in texts] == instants


def test_text_is_utc_with_six_digits() -> None:
    assert rfc3339(np.array([0, 1_771_999_200_000_001])) == [
        "1970-01-01T00:00:00.000000Z",
        "2026-02-25T06:00:00.000001Z",
    ]


PRINTED = [
    "2026-03-01T08:30:00Z",
    "2026-03-01T08:30Z",  # java.time at second 0
    "2026-03-01T09:30+01:00[Europe/Berlin]",
    "2026-03-01T08:30Z[UTC]",
    "2026-03-01T08:30:00.000000000Z",
    "2026-03-01T08:30:00+0000",
    "2026-03-01T08:30:00-0000",
    "2026-03-01T08:30:00.000+00:00",
    "2026-03-01 08:30:00+00:00",  # Python's str
    "2026-03-01 08:30:00+00",  # PostgreSQL
    "2026-03-01 08:30:00 UTC",  # Ruby, BigQuery
    "2026-03-01 08:30:00 +0000",
    "2026-03-01 09:30:00 +0100 CET",  # Go
    "2026-03-01 00:30:00.000 -0800",  # Snowflake
    "2026-03-01t08:30:00z",
    "2026-03-01T08:30:00,000Z",
    "2026-02-28T24:00:00-08:30",
    "2026-03-01T08:30:00.0000000Z",  # .NET
]


@pytest.mark.parametrize("text", PRINTED)
def test_what_languages_print_is_read(text: str) -> None:
    assert microseconds([text]).tolist() == [MOMENT]
    assert microseconds([text, "1970-01-01T00:00:00Z", text]).tolist() == [MOMENT, 0, MOMENT]


REFUSED = {
    "is a time without separators": [
        *("20230808120000Z", "20230808T120000Z", "20230808", "202308081200"),
    ],
    "is a number": ["1772353800", "1772353800000", "1772353800.5", "1.7723538e9", "-1", "45717.35"],
    "is a date without a time of day": ["2026-03-01"],
    "has no UTC offset": ["2026-03-01T08:30:00", "2026-03-01 08:30", "2026-03-01T08:30:00.5"],
    "is a leap second": ["2016-12-31T23:59:60Z"],
    "is no date of the calendar": [
        *("2026-02-30T08:30:00Z", "2025-02-29T00:00Z", "2026-04-31 00:00:00+00"),
    ],
    "is no date, time of day or offset": [
        *("2026-03-01T25:00:00Z", "2026-03-01T24:00:01Z", "2026-03-01T24:00:00.0000001Z"),
        *("2026-03-01T08:60:00Z", "2026-03-01T08:30:61Z", "2026-03-01T08:30:00+24:00"),
        *("2026-03-01T08:30:00+01:60", "2026-13-01T08:30:00Z", "2026-00-01T08:30:00Z"),
    ],
    "is not a time like": [
        *("", "NaT", "now", "yesterday", "12/1/2010 8:26", "Sun, 01 Mar 2026 08:30:00 GMT"),
        *("2026-3-1T08:30:00Z", "2026-03-01T8:30:00Z", "2026-03-01T08:30:00.1234567890Z"),
        *("2026-W09-7T08:30:00Z", "2026-060T08:30:00Z", "+2026-03-01T08:30:00Z"),
        *("2026-03-01T08Z", "2026-03-01Z"),
        *("2026-03-01T08:30:00.Z", " 2026-03-01T08:30:00Z", "2026-03-01T08:30:00Z\n", "\n"),
        *("٢٠٢٦-03-01T08:30:00Z", "2026-03-01T08:30:00Zé", "2026-03-01  08:30:00Z", "2026-03-01TZ"),
        *("2026-03-01T08:30:00 CET", "2026-03-01T08:30:00 GMT+1", "2026-03-01T08:30:00\u221201:00"),
    ],
}  # fmt: skip


@pytest.mark.parametrize(
    ("why", "text"), [(why, text) for why, texts in REFUSED.items() for text in texts]
)
def test_what_is_not_read_is_refused_in_a_sentence(why: str, text: str) -> None:
    assert microseconds([text]).tolist() == [NOT_A_TIME]
    assert explain(text).startswith(why)
    assert microseconds(["1970-01-01T00:00Z", text, "1970-01-01T00:00:01Z"]).tolist() == [
        0,
        NOT_A_TIME,
        1_000_000,
    ]


separators = st.sampled_from("Tt ")
zones = st.integers(-24 * 60 * 60 + 1, 24 * 60 * 60 - 1).map(
    lambda seconds: timezone(timedelta(seconds=seconds))
)
moments = st.datetimes(
    min_value=datetime(2, 1, 1),  # noqa: DTZ001 - hypothesis adds the zone
    max_value=datetime(9998, 12, 31),  # noqa: DTZ001
    timezones=st.integers(-23 * 60 - 59, 23 * 60 + 59).map(
        lambda minutes: timezone(timedelta(minutes=minutes))
    )
    | zones,
)


@st.composite
def written(draw: st.DrawFn) -> tuple[str, int]:
    """A moment as some language prints it, and its microseconds."""
    moment = draw(moments)
    digits = draw(st.integers(0, 9))
    if digits < 6:
        moment -= timedelta(microseconds=moment.microsecond % 10 ** (6 - digits))
    fraction = f"{moment.microsecond:06d}"[:digits] + "7" * max(0, digits - 6)
    if digits == 0 and moment.second and draw(st.booleans()):
        moment -= timedelta(seconds=moment.second)
    seconds = f":{moment:%S}" if moment.second or digits or draw(st.booleans()) else ""
    mark = draw(st.sampled_from(".,")) if digits else ""
    offset = moment.strftime("%z")
    assert len(offset) in (5, 7)
    sign, parts = offset[0], re.findall("..", offset[1:])
    zone = sign + ":".join(parts)
    if len(parts) == 2 and draw(st.booleans()):
        zone = offset
    if parts[1:] == ["00"] and draw(st.booleans()):
        zone = sign + parts[0]
    if set(parts) == {"00"}:
        zone = draw(st.sampled_from([zone, "Z", "z", " UTC", " +0000 UTC"]))
    text = f"{moment.year:04d}-{moment:%m-%d}{draw(separators)}{moment:%H:%M}{seconds}"
    return f"{text}{mark}{fraction}{draw(st.sampled_from(['', ' ']))}{zone.strip()}", micros(moment)


@given(st.lists(written(), min_size=1, max_size=6))
def test_any_batch_of_printed_times_is_read_exactly(batch: list[tuple[str, int]]) -> None:
    texts = [text for text, _ in batch]
    assert microseconds(texts).tolist() == [expected for _, expected in batch]
    assert all(re.match(PATTERN, text) for text in texts)


ORACLE = re.compile(
    r"(?P<date>[0-9-]{10})[Tt ](?P<time>[0-9:]+)(?P<fraction>[.,][0-9]+)? ?"
    r"(?P<zone>[Zz]|UTC|GMT|[+-][0-9:]+)( [A-Z]+)?(\[.*\])?",
    re.ASCII,
)


def oracle(text: str) -> int:
    """Read a text with Python's own parser, where the pattern lets it."""
    found = ORACLE.fullmatch(text)
    if found is None or not re.match(PATTERN, text):
        return NOT_A_TIME
    zone = found["zone"] if found["zone"][0] in "+-" else "+00:00"
    fraction = (found["fraction"] or "").replace(",", ".")[:7]
    ends_day = found["time"].startswith("24")
    time = found["time"].replace("24", "00", 1) if ends_day else found["time"]
    try:
        moment = datetime.fromisoformat(f"{found['date']}T{time}{fraction}{zone}")
        return micros(moment + timedelta(days=ends_day))
    except (ValueError, OverflowError):
        return NOT_A_TIME


@given(
    st.lists(
        st.tuples(
            st.sampled_from(PRINTED) | written().map(lambda pair: pair[0]),
            st.lists(
                st.tuples(st.integers(0, 40), st.sampled_from([*"0123456789.,-+:TtZz ", "", "00"])),
                max_size=2,
            ),
        ),
        min_size=1,
        max_size=4,
    )
)
@example([("2026-03-01T08:30:00Z", [(12, "4"), (11, "2")])])
def test_a_damaged_time_is_refused_or_the_moment_it_says(
    batch: list[tuple[str, list[tuple[int, str]]]],
) -> None:
    texts = []
    for text, edits in batch:
        letters = list(text)
        for at, new in edits:
            letters[at % len(text)] = new
        texts.append("".join(letters))
    read = microseconds(texts).tolist()
    # Python has no year 0.
    known = [row for row, text in enumerate(texts) if not text.startswith("0000")]
    assert [read[row] for row in known] == [oracle(texts[row]) for row in known]
    assert all(explain(text) for text in texts)


@given(st.text(max_size=30))
def test_any_text_is_read_or_explained(text: str) -> None:
    assert microseconds([text, text]).tolist() == [oracle(text)] * 2
    assert text == "" or text in "like" or len(explain(text)) > 10


def test_the_published_pattern_is_part_of_what_is_read() -> None:
    both = [text for text in PRINTED if re.search(RFC3339_PATTERN, text)]
    assert both[0] == "2026-03-01T08:30:00Z"
    assert "2026-03-01T08:30Z" not in both
    assert all(re.search(PATTERN, text) for text in PRINTED)


@given(st.datetimes(datetime(1971, 1, 1), datetime(2100, 1, 1)))  # noqa: DTZ001
@example(datetime(2026, 3, 29, 2, 30))  # noqa: DTZ001 - skipped by the clocks
@example(datetime(2026, 10, 25, 2, 30))  # noqa: DTZ001 - shown twice
def test_local_times_are_read_in_a_given_zone_only(local: datetime) -> None:
    for text in (local.isoformat(), str(local)):
        assert microseconds([text]).tolist() == [NOT_A_TIME]
        [read] = microseconds([text], BERLIN).tolist()
        moment = local.replace(tzinfo=BERLIN)
        is_skipped = moment.astimezone(UTC).astimezone(BERLIN).replace(tzinfo=None) != local
        assert read == (NOT_A_TIME if is_skipped else micros(moment))


def test_a_zone_changes_no_time_with_an_offset_and_begins_a_date_at_midnight() -> None:
    texts = ["2026-07-01T12:00:00Z", "2026-07-01T12:00:00", "2026-07-01"]
    expected = ["2026-07-01T12:00:00", "2026-07-01T10:00:00", "2026-06-30T22:00:00"]
    found = rfc3339(microseconds(texts, BERLIN))
    assert [text[:19] for text in found] == expected
    assert "clocks of Europe/Berlin" in explain("2026-03-29T02:30:00", BERLIN)
