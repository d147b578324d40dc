"""Timestamps of records, as producers set them on topics with ``CreateTime``.

Kafka's timestamps are milliseconds. A producer that counts in another unit is read by the size of
the number, which no two units share for any time since 1973: seconds have ten digits today,
milliseconds thirteen, microseconds sixteen, nanoseconds nineteen. The result depends on the record
alone, unlike a comparison with a worker's clock, which would judge the same record differently in a
later recovery.
"""

from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

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
