"""A year of real purchases, and the service's decisions over it without servers."""

import tempfile
from collections.abc import Sequence
from itertools import islice
from pathlib import Path

from livesegments.analysis.backtest import simulator
from livesegments.analysis.backtest.simulator import Event, EventDecoder
from livesegments.config.segmentation import built_in
from livesegments.consumers.modelling.initial_fit import Sample
from livesegments.contracts.topics import PROFILES, PURCHASES
from livesegments.demo.dataset import complete_journey
from livesegments.domain import DriftSample, Hysteresis, ProcessingConfig
from livesegments.features.segmentation import Segmentation
from livesegments.features.window import Tiling, is_full, purchases_by_tile
from livesegments.ingest.files import read_events


def journey(first: int | None = None) -> list[tuple[str, bytes, bytes]]:
    """Return the year of Complete Journey or its first purchases, after the profiles."""
    with tempfile.TemporaryDirectory() as folder:
        purchases, profiles = complete_journey(Path(folder))
        known, bought = read_events(profiles, "profiles"), read_events(purchases, "purchases")
        both = [(PROFILES, each) for each in known]
        both += [(PURCHASES, each) for each in islice(bought, first)]
    return [(topic, each.key, each.value or b"") for topic, each in both]


class History(simulator.Simulator):
    """A history under the default settings with a few overrides; counts what it processes."""

    def __init__(
        self,
        warmup: int = 500,
        margin: float = 0.15,
        min_dwell_us: int = 0,
        refit_gain: float | None = 0.0125,
        layout: Tiling | None = None,
        segmentation: Segmentation | None = None,
    ) -> None:
        config = ProcessingConfig(
            layout=layout or Tiling(90, 30),
            switching=Hysteresis(margin, min_dwell_us),
            event_clock=True,
            currency="USD",
            group_id="bench",
            segmentation=segmentation or built_in("personas"),
        )
        super().__init__(config, warmup, refit_gain)
        self.changes: list[tuple[str, str, str]] = []
        self.held_by_margin = 0
        self.watched: list[DriftSample] = []
        self._polls = EventDecoder()

    def take(self, events: Sequence[Event]) -> None:
        """Process a batch of events and the periodic work that it makes due.

        ``watched`` is then the drift sample of the previous generation.
        """
        generation = self.model.number
        self.watched = []
        for step in self.feed(self._polls.batch(events, self)):
            self.changes += step.tally.changes
            self.held_by_margin += step.tally.held_by_margin
            if step.generation == generation:
                self.watched += step.tally.watched

    def current(self) -> Sample:
        """Return all customers with a purchase in the window."""
        X = self.population().vectors
        tile = self.config.layout.tile(self.clock_us)
        return Sample(X, float(len(X)), is_full(purchases_by_tile(self.all(), tile)))
