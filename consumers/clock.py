"""Comparison of a worker's wall clock with other clocks: evidence in, verdict out.

What each piece of evidence can prove:

- Redis says what time it is there, between a question and its answer. The worker's clock is ahead
  when it was later than that before the question, and behind when it is earlier after the answer. A
  worker that stood still in between proves nothing.
- The broker dates a record when it appends it (``LogAppendTime``). Its clock has passed that time,
  so a worker whose clock has not is behind the broker. An old record says nothing more, so no
  worker is found ahead of the broker. Of a partition only the newest record counts: a later one
  that is dated earlier shows that the broker's clock has been corrected. Timestamps that producers
  set are no evidence.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from livesegments.contracts.validation import FUTURE_TOLERANCE_US

TOLERANCE_US = FUTURE_TOLERANCE_US
"""How far two clocks may be apart, and a partition's clock ahead of the evidence."""

Server = Literal["redis", "kafka"]


class WrongClockError(RuntimeError):
    """The wall clock here and that of a server are further apart than any work allows."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """Another clock, read between two looks at the one here; all in microseconds.

    Attributes
    ----------
    server, name
        Whose it is, and which one.
    shows_us
        What it showed, or at least shows when ``at_least``.
    before_us, after_us
        The clock here before and after it was read.
    """

    server: Server
    name: str
    shows_us: int
    before_us: int
    after_us: int
    at_least: bool = False

    @property
    def error_us(self) -> int:
        """By how much the clock here is ahead for certain; negative behind, 0 if neither."""
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
    """Hold a clock against others.

    Raises
    ------
    WrongClockError
        If one is further away than the tolerance; names it, says by how much, and which others
        agree with the clock here: then it is not this one that is wrong.
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
    """Return a time, but none further ahead of what another clock showed than the tolerance."""
    return min(time_us, shown_us + TOLERANCE_US)


def latest(shown_us: int) -> int:
    """Return the latest that a purchase may be dated when Redis' clock shows a time.

    It may be ahead of the broker by the tolerance, and the broker of Redis.
    """
    return shown_us + 2 * TOLERANCE_US


def apart(error_us: int) -> str:
    """Return an error in words: ``2 h ahead of``."""
    seconds = abs(error_us) / 1_000_000
    size, unit = next(
        (each for each in ((86_400, "days"), (3_600, "h"), (60, "min")) if seconds >= 2 * each[0]),
        (1, "s"),
    )
    return f"{seconds / size:.0f} {unit} {'ahead of' if error_us > 0 else 'behind'}"
