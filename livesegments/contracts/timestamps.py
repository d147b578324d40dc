"""Times on the wire: RFC 3339 text to and from microseconds since the epoch, a batch at once."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

NO_SUCH_DATE = np.iinfo(np.int64).min
"""What `microseconds` gives for a well-formed text that names no day, such as 30 February."""


def microseconds(texts: Sequence[str]) -> NDArray[np.int64]:
    """Microseconds since 1970-01-01T00:00Z of each text, `NO_SUCH_DATE` where there is none.

    Parameters
    ----------
    texts
        (n,) RFC 3339 times that match `livesegments.contracts.events.Instant`.

    Returns
    -------
    (n,) int64; digits past microseconds are cut off.
    """
    local = _civil([text[:-1] if text[-1] == "Z" else text[:-6] for text in texts])
    offsets = {text[-6:] for text in texts if text[-1] != "Z"}
    if offsets:
        ahead = {offset: _offset_us(offset) for offset in offsets}
        local -= np.array([ahead.get(text[-6:], 0) for text in texts], dtype="timedelta64[us]")
    return local.view(np.int64)


def rfc3339(micros: Sequence[int] | NDArray[np.int64]) -> list[str]:
    """Write instants as text in UTC, like ``2026-03-01T08:30:00.000000Z``.

    Parameters
    ----------
    micros
        (n,) microseconds since the epoch, years 0 to 9999.
    """
    instants = np.asarray(micros, dtype=np.int64).view("datetime64[us]")
    return [text + "Z" for text in np.datetime_as_string(instants, unit="us").tolist()]


def _civil(texts: list[str]) -> NDArray[np.datetime64]:
    try:
        return np.array(texts, dtype="datetime64[us]")
    except ValueError:
        return np.concatenate([_civil_or_nat(text) for text in texts])


def _civil_or_nat(text: str) -> NDArray[np.datetime64]:
    try:
        return np.array([text], dtype="datetime64[us]")
    except ValueError:
        return np.array(["NaT"], dtype="datetime64[us]")


def _offset_us(offset: str) -> int:
    minutes = int(offset[1:3]) * 60 + int(offset[4:6])
    return (-minutes if offset[0] == "-" else minutes) * 60_000_000
