"""Input of a soak."""

import random
from collections import deque

from livesegments.contracts.topics import PURCHASES
from tests.load import load
from tests.service import Event

REPEATED = 0.02


class Input:
    """The load, with some purchases repeated later."""

    def __init__(self, seed: int) -> None:
        self._rng, self._seed = random.Random(seed), seed
        self._recent: deque[Event] = deque(maxlen=2_000)
        self.repeats = 0

    def __call__(self, n: int, first: int) -> list[Event]:
        """Return n events from a number on, with repeats among them."""
        fresh = load(n, seed=self._seed + first, first=first, minutes=1)
        again = [self._rng.choice(self._recent) for _ in range(n) if self._recent]
        again = [event for event in again if self._rng.random() < REPEATED]
        self.repeats += len(again)
        self._recent += [event for event in fresh if event[0] == PURCHASES]
        return fresh + again
