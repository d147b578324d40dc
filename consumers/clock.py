"""Comparison of a worker's wall clock with other clocks: evidence in, verdict out.

What each kind of evidence proves:

- Redis reports its time between a request and its response. The worker's clock is ahead if it was
  later than that before the request, and behind if it is earlier after the response. A worker that
  stalled in between proves nothing.
- The broker timestamps a record when it appends it (``LogAppendTime``). Its clock has passed that
  time, so a worker whose clock has not is behind the broker. An old record proves nothing more, so
  a worker is never found ahead of the broker. Only the newest record of a partition counts: a later
  record with an earlier timestamp means that the broker's clock has been corrected. Timestamps set
  by producers are no evidence.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from livesegments.contracts.validation import FUTURE_TOLERANCE_US

TOLERANCE_US = FUTURE_TOLERANCE_US
"""Maximum difference of two clocks, and of a partition's clock ahead of the evidence."""

Server = Literal["redis", "kafka"]


class WrongClockError(RuntimeError):
    """Wall clock too far from a server's clock for processing."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """Reading of another clock between two readings of the local one; all in microseconds.

    Attributes
    ----------
    server, name
        Kind of server, and its name.
    shows_us
        The time it showed; a lower bound if ``at_least``.
    before_us, after_us
        The local clock before and after the reading.
    """

    server: Server
    name: str
    shows_us: int
    before_us: int
    after_us: int
    at_least: bool = False

    @property
    def error_us(self) -> int:
        """Proven error of the local clock: positive ahead, negative behind, 0 if unproven."""
        if self.shows_us > self.after_us:
            return self.after_us - self.shows_us
        return 0 if self.at_least else max(self.before_us - self.shows_us, 0)


def errors(evidence: Sequence[Evidence]) -> dict[str, int]:
    """Return the largest error by server, in microseconds: ahead above 0, behind below."""
    found: dict[str, int] = {}
    for each in evidence:
        found[each.server] = max(found.get(each.server, 0), each.error_us, key=abs)
    return found


def check(evidence: Sequence[Evidence]) -> None:
    """Compare the local clock with others.

    Raises
    ------
    WrongClockError
        If one differs by more than the tolerance. The message names it, gives the difference, and
        lists the clocks that agree with the local one, which then is probably right.
    """
    worst = max(evidence, key=lambda each: abs(each.error_us), default=None)
    if worst is None or abs(worst.error_us) <= TOLERANCE_US:
        return
    agree = [e.name for e in evidence if not e.at_least and abs(e.error_us) <= TOLERANCE_US]
    raise WrongClockError(
        f"the clock here is {apart(worst.error_us)} {worst.name}"
        + (f"; it agrees with {', '.join(agree)}" if agree else "")
    )


def bounded(time_us: int, shown_us: int) -> int:
    """Return a time, limited to the tolerance ahead of another clock's reading."""
    return min(time_us, shown_us + TOLERANCE_US)


def latest(shown_us: int) -> int:
    """Return the latest plausible time of a purchase for a reading of Redis' clock.

    The purchase may be ahead of the broker by the tolerance, and the broker ahead of Redis.
    """
    return shown_us + 2 * TOLERANCE_US


def apart(error_us: int) -> str:
    """Format an error: ``2 h ahead of``."""
    seconds = abs(error_us) / 1_000_000
    size, unit = next(
        (each for each in ((86_400, "days"), (3_600, "h"), (60, "min")) if seconds >= 2 * each[0]),
        (1, "s"),
    )
    return f"{seconds / size:.0f} {unit} {'ahead of' if error_us > 0 else 'behind'}"
