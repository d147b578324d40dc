"""Times in events and of records, as microseconds since the epoch, a batch at once.

One parser for texts in topics and files. It reads RFC 3339, the extended format of ISO 8601 and
what the languages' own libraries print; every form has separators and an offset, so none can be
read as another moment. Texts of one shape (the same but for the digits) are read together as a
table.

Records have timestamps of their own, which producers set on topics with ``CreateTime``. Kafka's are
milliseconds. A producer that counts in another unit is read by the size of the number, which no two
units share for any time since 1973: seconds have ten digits today, milliseconds thirteen,
microseconds sixteen, nanoseconds nineteen. The result depends on the record alone, unlike a
comparison with a worker's clock, which would judge the same record differently in a later recovery.
"""

import re
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta, tzinfo
from functools import lru_cache
from typing import Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import numpy as np
from numpy.typing import ArrayLike, NDArray

Int = NDArray[np.int64]

NOT_A_TIME = np.iinfo(np.int64).min
"""Result of `microseconds` for a text that cannot be read; the same bits as NumPy's NaT."""

EXAMPLE = "2026-03-01T08:30:00Z"

_DATE = "[0-9]{4}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])"
_TIME = (
    "(([01][0-9]|2[0-3]):[0-5][0-9](:[0-5][0-9]([.,][0-9]{1,9})?)?"
    "|24:00(:00([.,]0{1,9})?)?)"  # the end of the day
)
_OFFSET = "[+-]([01][0-9]|2[0-3])(:?[0-5][0-9]|:[0-5][0-9]:[0-5][0-9])?"
# Java appends the region in brackets and Go the abbreviation: the offset before it is what counts.
_ZONE = rf" ?([Zz]|UTC|GMT|{_OFFSET}( [A-Z]{{1,5}})?)(\[[A-Za-z0-9_+/~.-]{{1,64}}\])?"
PATTERN = f"^{_DATE}[Tt ]{_TIME}{_ZONE}$"
"""Every text that is read; dates still have to be of the calendar."""
RFC3339_PATTERN = (
    rf"^{_DATE}T([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](\.[0-9]{{1,9}})?"
    "(Z|[+-]([01][0-9]|2[0-3]):[0-5][0-9])$"
)
"""The part of them that the published schemas ask for."""

_SHAPE = re.compile(
    r"0000-00-00(?P<time>[Tt ]00:00(?P<second>:00(?P<fraction>[.,]0{1,9})?)?"
    r"(?P<zone> ?([Zz]|UTC|GMT|(?P<offset>[+-])00(?P<minutes>:?00(?P<seconds>:00)?)?( [A-Z]{1,5})?)"
    r"(\[[A-Za-z0-9_+/~.-]{1,64}\])?)?)?"
)
"""A text with a zero for each digit."""
_COMPACT = re.compile(
    r"(19|20)[0-9]{2}(0[1-9]|1[0-2])(0[1-9]|[12][0-9]|3[01])([Tt ]?[0-9]{2,6}([.,]?[0-9]+)?)?"
    r"([^0-9].*)?"
)
_DIGITS_TO_ZERO = bytes.maketrans(b"123456789", b"000000000")
_ZEROS = str.maketrans("123456789", "000000000")

_MINUTE_US = 60_000_000
_HOUR_US = 60 * _MINUTE_US
_DAY_US = 24 * _HOUR_US
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def microseconds(texts: Sequence[str], zone: tzinfo | None = None) -> Int:
    """Read times as microseconds since 1970-01-01T00:00Z.

    Parameters
    ----------
    texts
        (n,) texts of any kind.
    zone
        Time zone of times and dates without an offset, which otherwise are not read. Of a local
        time that a clock showed twice it is the first.

    Returns
    -------
    (n,) int64, `NOT_A_TIME` where the text cannot be read (`explain` says why); digits past
    microseconds are cut off.
    """
    if not texts:
        return np.empty(0, np.int64)
    data = "\n".join(texts).encode("ascii", "replace")
    if data.count(b"\n") >= len(texts):
        return microseconds([text.replace("\n", "?") for text in texts], zone)
    shapes = data.translate(_DIGITS_TO_ZERO) + b"\n"
    first = shapes[: shapes.index(b"\n") + 1]
    if shapes == first * len(texts):
        return _of_shape(first[:-1].decode(), data + b"\n", zone)
    lines = data.split(b"\n")
    rows_of: dict[bytes, list[int]] = {}
    for row, shape in enumerate(shapes[:-1].split(b"\n")):
        rows_of.setdefault(shape, []).append(row)
    micros = np.empty(len(texts), np.int64)
    for shape, rows in rows_of.items():
        table = b"\n".join([*(lines[row] for row in rows), b""])
        micros[rows] = _of_shape(shape.decode(), table, zone)
    return micros


def explain(text: str, zone: tzinfo | None = None) -> str:
    """Say why `microseconds` cannot read a text and what to send, to follow a field's name.

    The text itself is not in the sentence.
    """
    found = _SHAPE.fullmatch(text.translate(_ZEROS)) if text.isascii() else None
    if _COMPACT.fullmatch(text):
        return f'is a time without separators; send it like "{EXAMPLE}"'
    if re.fullmatch(r"[+-]?[0-9]+([.,][0-9]+)?([eE][+-]?[0-9]+)?", text):
        return number()
    if found is None:
        return f'is not a time like "{EXAMPLE}" or "2026-03-01T09:30:00+01:00"'
    if not found["zone"] and zone is not None:
        return f"is no time of the calendar and the clocks of {zone}"
    if not found["time"]:
        return f'is a date without a time of day; send a time with an offset, like "{EXAMPLE}"'
    if not found["zone"]:
        return f'has no UTC offset; add one: "{EXAMPLE}" or "2026-03-01T09:30:00+01:00"'
    if found["second"] and text[17:19] == "60":
        return "is a leap second, which clocks cannot tell from the next one; send second 59"
    is_clock = re.match(PATTERN, text) is not None
    return "is no date of the calendar" if is_clock else "is no date, time of day or offset"


def number() -> str:
    """Say what to send in place of a number, to follow a field's name."""
    return f'is a number, like seconds since 1970; send the time as text, like "{EXAMPLE}"'


def rfc3339(micros: Sequence[int] | Int) -> list[str]:
    """Write instants as text in UTC, like ``2026-03-01T08:30:00.000000Z``.

    Parameters
    ----------
    micros
        (n,) microseconds since the epoch, years 0 to 9999.
    """
    instants = np.asarray(micros, dtype=np.int64).view("datetime64[us]")
    return [text + "Z" for text in np.datetime_as_string(instants, unit="us").tolist()]


def zone_named(name: str | None) -> tzinfo | None:
    """Return the time zone of an IANA name, None for None.

    Raises
    ------
    ValueError
        If there is no time zone of that name.
    """
    if name is None or name.upper() == "UTC":
        return None if name is None else UTC
    try:
        return ZoneInfo(name)
    # A directory of zones, such as Europe, raises an OSError.
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise ValueError(f"no time zone {name}; give an IANA name such as Europe/Berlin") from error


@lru_cache(maxsize=1024)
def _parts(shape: str) -> re.Match[str] | None:
    return _SHAPE.fullmatch(shape)


def _of_shape(shape: str, lines: bytes, zone: tzinfo | None) -> Int:
    """Read lines of one shape, each with its line feed."""
    width = len(shape) + 1
    found = _parts(shape)
    if found is None or (zone is None and not found["zone"]):
        return np.full(len(lines) // width, NOT_A_TIME)
    # A row for each place in the text, so that the digits of a place are next to each other.
    text = np.frombuffer(lines, np.uint8).reshape(-1, width).T
    digits: NDArray[np.uint8] = np.ascontiguousarray(text) & np.uint8(0x0F)

    def pair(at: int) -> Int:
        two: Int = (digits[at] * np.uint8(10) + digits[at + 1]).astype(np.int64)
        return two

    micros, valid = _days(pair(0) * 100 + pair(2), pair(5), pair(8))
    micros *= _DAY_US
    if found["time"]:
        within, in_range = _time_of_day(found, digits, pair)
        micros += within
        valid &= in_range
    if found["offset"]:
        offset, in_range = _offset(found, pair)
        micros -= offset
        valid &= in_range
    if not found["zone"]:
        assert zone is not None
        for row in np.flatnonzero(valid).tolist():
            micros[row] = _in_zone(int(micros[row]), zone)
    micros[~valid] = NOT_A_TIME
    return micros


def _days(year: Int, month: Int, day: Int) -> tuple[Int, NDArray[np.bool_]]:
    """Return days since the epoch, and which are in the calendar."""
    months = ((year - 1970) * 12 + month - 1).view("datetime64[M]")
    days = months.astype("datetime64[D]") + (day - 1)
    valid = (month >= 1) & (month <= 12) & (days.astype("datetime64[M]") == months)
    return days.view(np.int64), valid


def _time_of_day(
    found: re.Match[str], digits: NDArray[np.uint8], pair: Callable[[int], Int]
) -> tuple[Int, NDArray[np.bool_]]:
    hour, minute = pair(11), pair(14)
    micros = hour * _HOUR_US + minute * _MINUTE_US
    valid = (hour <= 24) & (minute <= 59)
    ends_day = hour == 24
    if found["second"]:
        second = pair(17)
        micros += second * 1_000_000
        valid &= second <= 59
    if found["fraction"]:
        start, stop = found.span("fraction")
        fraction = digits[start + 1 : stop]
        for place, digit in enumerate(fraction[:6]):
            micros += digit * np.int64(10 ** (5 - place))
        valid &= ~ends_day | ~fraction.any(axis=0)
    valid &= ~ends_day | (micros == _DAY_US)
    return micros, valid


def _offset(found: re.Match[str], pair: Callable[[int], Int]) -> tuple[Int, NDArray[np.bool_]]:
    at = found.start("offset") + 1
    hour = pair(at)
    micros, valid = hour * _HOUR_US, hour <= 23
    if found["minutes"]:
        minute = pair(at + 2 + (found["minutes"][0] == ":"))
        micros += minute * _MINUTE_US
        valid &= minute <= 59
    if found["seconds"]:
        second = pair(found.start("seconds") + 1)
        micros += second * 1_000_000
        valid &= second <= 59
    return (-micros if found["offset"] == "-" else micros), valid


def _in_zone(local_us: int, zone: tzinfo) -> int:
    """Return the moment of a local time, `NOT_A_TIME` where clocks skipped it."""
    try:
        local = (_EPOCH + timedelta(microseconds=local_us)).replace(tzinfo=zone)
        moment = local.astimezone(UTC)
    except OverflowError:
        return NOT_A_TIME
    shown = moment.astimezone(zone).replace(tzinfo=None)
    return (moment - _EPOCH) // _MICROSECOND if shown == local.replace(tzinfo=None) else NOT_A_TIME


Unit = Literal["none", "seconds", "milliseconds", "microseconds", "nanoseconds"]

UNITS: tuple[Unit, ...] = ("none", "seconds", "milliseconds", "microseconds", "nanoseconds")
_LEAST = np.array([0, 10**11, 10**14, 10**17], np.int64)
"""Smallest number read in each unit but the first, in the same order."""
_EARLIEST_US = 946_684_800_000_000
"""Begin of the year 2000: no record is older than Kafka."""
_LATEST_US = 253_402_300_799_999_000
"""Last millisecond of the year 9999, in microseconds."""


def record_times_us(timestamps: ArrayLike) -> NDArray[np.int64]:
    """Return the times that record timestamps mean, (n,), in microseconds; 0 for none.

    A number that is a possible time in no unit means none.

    Examples
    --------
    >>> record_times_us([1772354000, 1772354000000, 1772354000000000, -1]).tolist()
    [1772354000000000, 1772354000000000, 1772354000000000, 0]
    """
    given = np.asarray(timestamps, np.int64)
    if given.size and given.min() >= _EARLIEST_US // 1_000 and given.max() < _LEAST[2]:
        return np.minimum(given * 1_000, _LATEST_US)  # all are milliseconds
    unit = _units(given)
    # The other factors of a number would overflow.
    factor = np.array([0, 1_000_000, 1_000, 1, 1], np.int64)[unit]
    micros = np.where(unit == UNITS.index("nanoseconds"), given // 1_000, given) * factor
    return np.where(micros < _EARLIEST_US, 0, np.minimum(micros, _LATEST_US))


def units(timestamps: ArrayLike) -> list[Unit]:
    """Return the unit that each timestamp is read in, (n,)."""
    return [UNITS[each] for each in _units(np.asarray(timestamps, np.int64)).tolist()]


def _units(given: NDArray[np.int64]) -> NDArray[np.intp]:
    return np.where(given > 0, np.searchsorted(_LEAST, given, side="right"), 0)
