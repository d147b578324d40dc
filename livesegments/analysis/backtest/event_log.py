"""Log of the moves in each step of a simulation: customer, day, segments and origin."""

from collections import Counter
from collections.abc import Sequence

from livesegments.analysis.backtest.simulator import Step
from livesegments.features.window import DAY_US

RETURN_DAYS = 30
NONE = "none"

Move = tuple[int, str, str, str]
"""Day since the epoch, segment before and after (ids, ``none`` for none), origin."""


class EventLog:
    """Counts over the steps of one history.

    Attributes
    ----------
    moves
        Number of customers per move.
    sizes
        Day since the epoch -> customers in each segment at its end; only days with purchases.
    returns
        Number of customers that returned within 30 days to the segment they had left.
    held
        Number of scorings whose switch was held back, by ``margin`` and by ``dwell``.
    dead_letters
        Records that broke the contract, by reason.
    """

    def __init__(self, segments: Sequence[str]) -> None:
        self.moves: Counter[Move] = Counter()
        self.sizes: dict[int, tuple[int, ...]] = {}
        self.returns = 0
        self.held: Counter[str] = Counter()
        self.dead_letters: Counter[str] = Counter()
        self._now = dict.fromkeys((*segments, NONE), 0)
        self._left: dict[str, tuple[str, int]] = {}

    def note(self, step: Step) -> None:
        """Add a step."""
        day, tally = step.clock_us // DAY_US, step.tally
        for customer, (before, after, origin) in zip(step.changed, tally.changes, strict=True):
            self.moves[day, before, after, origin] += 1
            self._now[before] -= 1
            self._now[after] += 1
            if before != NONE:
                left, when = self._left.get(customer, (NONE, 0))
                self.returns += left == after != NONE and day - when <= RETURN_DAYS
                self._left[customer] = before, day
        self.sizes[day] = tuple(self._now[name] for name in self._now if name != NONE)
        self.held += Counter(margin=tally.held_by_margin, dwell=tally.held_by_dwell)
        self.dead_letters += Counter(tally.dead_letters)
