"""Results of a backtest as plain data: for the terminal, for scripts and for a page."""

from collections import Counter
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

import numpy as np

from livesegments.analysis.backtest.advice import fitness
from livesegments.analysis.backtest.quality import QualityMeter
from livesegments.analysis.backtest.simulator import Simulator, Step
from livesegments.analysis.segments import describe
from livesegments.analysis.transitions import NONE, TransitionCounts
from livesegments.app import processing_config
from livesegments.config.settings import Settings
from livesegments.consumers.decoding import MicroBatch
from livesegments.features.segmentation import Segmentation
from livesegments.features.window import DAY_US
from livesegments.rendering.formats import named

YEAR_DAYS = 365.25
RETURN_DAYS = 30
_SHOWN_SETTINGS = (
    *("window_days", "tiles", "switch_margin", "min_dwell"),
    *("warmup_customers", "refit", "refit_gain", "dedup_events", "currency", "segmentation"),
)

Outcome = dict[str, Any]
"""Result of a history under some settings, for JSON.

``label``, ``is_given``, ``settings``
    Difference from the other settings, such as ``margin=0.3``; True for those of the environment.
``customers``, ``unknown``
    Customers with a purchase in the window at the end; feature -> share of them without it.
``segments``
    See `livesegments.analysis.segments.Segment`; none without a model.
``is_named``, ``fitness``
    False for clusters without names; where segmentations are compared, see
    `livesegments.analysis.backtest.advice.Fitness`.
``late``
    Purchases older than the window on arrival, which never count.
``stability``
    First assignments, moves to another segment, and moves to none when the window was empty. The
    last two over the days since the first fit (``a_day``); moves to another segment over the
    customer-years in one (``a_customer_a_year``), and the share of them that undid the previous one
    within 30 days (``returned``). Share of the scorings with another centroid nearest that margin
    or dwell held back (``held_by_…``); moves by origin; share of the customers at the end that are
    not in the segment of the nearest centroid (``not_nearest``).
``generations``
    Day, customers and sizes of each fit, and the share of the inertia it saved (the first: None).
``quality``
    At some dates, see `livesegments.analysis.backtest.quality.Quality`.
``days``, ``sizes``, ``moves``, ``transitions``
    Days since the first fit; sizes of each segment; moves by origin; from segment -> to segment ->
    moves, ``none`` for no segment.
"""


@dataclass(frozen=True, slots=True)
class Variant:
    """Settings, labelled by their difference from the others."""

    label: str
    settings: Settings
    is_given: bool = False
    clusters: Segmentation | None = None
    """Clusters without names, instead of the segmentation of the settings."""


class VariantRun:
    """The service's decisions over a history under some settings, and their results."""

    def __init__(self, variant: Variant) -> None:
        self._variant, settings = variant, variant.settings
        how = processing_config(settings)
        if variant.clusters is not None:
            how = replace(how, segmentation=variant.clusters)
        gain = settings.refit_gain if settings.refit == "auto" else None
        self.simulator = Simulator(how, settings.warmup_customers, gain)
        self.dead_letters: Counter[str] = Counter()
        self._moves = TransitionCounts(how.segment_ids)
        self._held: Counter[str] = Counter()
        self._left: dict[str, tuple[str, int]] = {}
        self._returned = self._late = 0
        self._quality: list[dict[str, Any]] = []

    def take(self, batch: MicroBatch) -> None:
        """Process a batch."""
        for step in self.simulator.feed(batch):
            self._note(step)
        layout = self.simulator.config.layout
        first_tile = layout.tile(self.simulator.clock_us) - layout.tiles + 1
        tiles = layout.tile_of(batch.purchases.occurred_at)
        self._late += int(np.count_nonzero(tiles < first_tile))

    def _note(self, step: Step) -> None:
        day, tally = step.clock_us // DAY_US, step.tally
        self._moves.add((day, *change) for change in tally.changes)
        for customer, (before, after, _) in zip(step.changed, tally.changes, strict=True):
            if before != NONE:
                left, when = self._left.get(customer, (NONE, 0))
                self._returned += left == after != NONE and day - when <= RETURN_DAYS
                self._left[customer] = before, day
        self._held.update(margin=tally.held_by_margin, dwell=tally.held_by_dwell)
        self.dead_letters.update(tally.dead_letters)

    def measure(self, meter: QualityMeter) -> None:
        """Measure the quality of the clusters now."""
        quality = meter(self.simulator)
        if quality is not None:
            self._quality.append({"day": iso_date(self.simulator.clock_us), **quality})

    def outcome(self, *, rated: bool = False) -> Outcome:
        """Return the results, with the fitness of the segmentation if it is ``rated``."""
        history, variant = self.simulator, self._variant
        now, fits = history.population(), history.generations
        segmentation = history.config.segmentation
        unknown = np.ones(len(segmentation.features))
        if len(now.vectors):
            unknown = np.isnan(now.vectors).mean(axis=0)
        last_day = history.clock_us // DAY_US
        days = range(fits[0].clock_us // DAY_US, last_day + 1) if fits else range(0)
        sizes = self._moves.sizes(days)
        model = history.model.model({0: history.state})
        at_end = {segment: of_days[-1] for segment, of_days in sizes.items()} if fits else {}
        segments = describe(model, segmentation, at_end) if model else []
        is_named = variant.clusters is None
        if not is_named:
            segments = [each | {"persona_distance": None} for each in segments]
        rating = fitness(history, segments, is_named=is_named) if rated else None
        return {
            "label": variant.label,
            "is_given": variant.is_given,
            "settings": {n: _plain(getattr(variant.settings, n)) for n in _SHOWN_SETTINGS},
            "customers": len(now.vectors),
            "segments": segments,
            "is_named": is_named,
            "fitness": rating,
            "unknown": named(segmentation.feature_names, unknown),
            "late": self._late,
            "stability": self._stability(len(days), sum(map(sum, sizes.values()))),
            "generations": [
                {
                    "day": iso_date(each.clock_us),
                    "customers": each.customers,
                    "gain": None if each.gain is None else round(each.gain, 4),
                    "sizes": dict(
                        zip(each.generation.segments, each.generation.sizes, strict=True)
                    ),
                }
                for each in fits
            ],
            "quality": self._quality,
            "days": [iso_date(day * DAY_US) for day in days],
            "sizes": sizes,
            "moves": self._moves.by_day(days),
            "transitions": self._moves.transitions(),
        }

    def _stability(self, days: int, customer_days: int) -> dict[str, Any]:
        kinds: Counter[str] = Counter()
        origins: Counter[str] = Counter()
        for (_, before, after, origin), n in self._moves.moves.items():
            kinds["assigned" if before == NONE else "left" if after == NONE else "moved"] += n
            if before != NONE:
                origins[origin] += n
        reassigned, unassigned = kinds["moved"], kinds["left"]
        switches = reassigned + self._held.total()
        now = self.simulator.population()
        carries = np.full(1, -1)
        model = self.simulator.model.model({0: self.simulator.state})
        if model is not None:
            carries = np.append(model.segment_of_cluster, -1)
        elsewhere = int(np.count_nonzero(carries[now.cluster] != now.segment))
        return {
            "assigned": kinds["assigned"],
            "reassigned": reassigned,
            "unassigned": unassigned,
            "a_day": _share(reassigned + unassigned, days, 2),
            "a_customer_a_year": _share(reassigned, customer_days / YEAR_DAYS, 2),
            "returned": _share(self._returned, reassigned),
            "held_by_margin": _share(self._held["margin"], switches),
            "held_by_dwell": _share(self._held["dwell"], switches),
            "origins": dict(origins.most_common()),
            "not_nearest": _share(elsewhere, len(now.segment)),
        }


def iso_date(time_us: int) -> str:
    """Return the date of a time."""
    return str(np.datetime64(time_us, "us").astype("M8[D]"))


def _plain(value: Any) -> Any:
    if isinstance(value, timedelta):
        return value.total_seconds()
    return value if value is None or isinstance(value, int | float | str) else str(value)


def _share(part: float, whole: float, digits: int = 4) -> float:
    return round(part / whole, digits) if whole else 0.0
