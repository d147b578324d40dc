"""Run of a history through the service's decisions, under one or several settings at once."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from livesegments.analysis.backtest.event_log import EventLog
from livesegments.analysis.backtest.quality import QualityMeter
from livesegments.analysis.backtest.results import BacktestResult, Data, Point, iso_of, summarize
from livesegments.analysis.backtest.simulator import Event, EventDecoder, Simulator
from livesegments.app import rules
from livesegments.config.settings import Settings
from livesegments.consumers.decoding import MicroBatch
from livesegments.contracts.topics import PROFILES, PURCHASES
from livesegments.features.window import DAY_US
from livesegments.producers.event_files import BrokenRowError, Record, read_profiles, read_purchases
from livesegments.producers.replay import zone_named

ROUND_RECORDS = 20_000
ROUND_US = DAY_US // 4
"""A batch covers six hours at most: few customers buy twice in it, as in a live batch."""
MEASURED_DAYS = 30


@dataclass(frozen=True, slots=True)
class Variant:
    """Settings, labelled by their difference from the others."""

    label: str
    settings: Settings
    is_given: bool = False


@dataclass(frozen=True, slots=True)
class Backtest:
    """The data read, and the result under each settings."""

    data: Data
    outcomes: tuple[BacktestResult, ...]

    @property
    def shown(self) -> BacktestResult:
        """The result to show in full: that of the settings of the environment."""
        return next((each for each in self.outcomes if each.is_given), self.outcomes[0])

    def to_dict(self) -> dict[str, Any]:
        """Return it for JSON."""
        data = self.data
        return {
            "data": {
                "purchases": data.purchases,
                "profiles": data.profiles,
                "first": data.first_us and iso_of(data.first_us),
                "last": data.last_us and iso_of(data.last_us),
                "rejected": dict(data.rejected.most_common()),
                "duplicates": data.duplicates,
            },
            "outcomes": [outcome.to_dict() for outcome in self.outcomes],
        }


class NothingReadError(ValueError):
    """A file has no purchase that can be counted."""


def backtest(
    purchases: Path,
    profiles: Path | None,
    variants: Sequence[Variant],
    *,
    timezone: str | None = None,
    now_ms: int = 0,
    progress: Callable[[int], None] = lambda _: None,
) -> Backtest:
    """Run files through the decisions under each variant.

    Parameters
    ----------
    purchases, profiles
        As `livesegments.producers.replay` reads them; profiles come first. Broken rows are
        counted and left out.
    variants
        At least one; currency and remembered events are those of the first.
    timezone
        IANA name for times without an offset.
    now_ms
        The current time, milliseconds since the epoch: later events are rejected, as live; with 0
        none is.
    progress
        Called with the number of records read.

    Raises
    ------
    FileError
        If a file cannot be read.
    NothingReadError
        If it has no purchase that can be counted.
    """
    data = Data()
    first_broken: list[BrokenRowError] = []

    def on_broken(row: BrokenRowError) -> None:
        if not first_broken:
            first_broken.append(row)
        data.rejected[f"{row.field}: {row.why}"] += 1

    zone, currency = zone_named(timezone), variants[0].settings.currency
    bought = read_purchases(purchases, currency=currency, timezone=zone, on_broken=on_broken)
    known: Iterator[Record] = iter(())
    if profiles is not None:
        known = read_profiles(profiles, timezone=zone, on_broken=on_broken)
    runs = [_Run(variant) for variant in variants]
    polls = EventDecoder(now_ms)
    measured_us = 0
    for events in chain(_cut(PROFILES, known), _cut(PURCHASES, bought)):
        batch = polls.batch(events, runs[0].history)
        for run in runs:
            run.take(batch)
        _count(data, batch)
        progress(data.purchases + data.profiles)
        clock_us = runs[0].history.clock_us
        if clock_us - (measured_us or data.first_us or clock_us) >= MEASURED_DAYS * DAY_US:
            measured_us = clock_us
            _measure(runs)
    if not data.purchases:
        why = f"; the first: {first_broken[0]}" if first_broken else ""
        raise NothingReadError(f"{purchases}: no purchase that can be counted{why}")
    if measured_us != runs[0].history.clock_us:
        _measure(runs)
    data.rejected += runs[0].events.dead_letters
    return Backtest(data, tuple(run.outcome() for run in runs))


class _Run:
    """A variant while it runs."""

    def __init__(self, variant: Variant) -> None:
        self.variant, settings = variant, variant.settings
        how = rules(settings)
        gain = settings.refit_gain if settings.refit == "auto" else None
        self.history = Simulator(how, settings.warmup_customers, gain)
        self.events = EventLog(how.segment_ids)
        self.quality: list[Point] = []
        self.late = 0

    def take(self, batch: MicroBatch) -> None:
        for step in self.history.feed(batch):
            self.events.note(step)
        layout = self.history.rules.layout
        first_tile = layout.tile(self.history.clock_us) - layout.tiles + 1
        tiles = layout.tile_of(batch.purchases.occurred_at)
        self.late += int(np.count_nonzero(tiles < first_tile))

    def outcome(self) -> BacktestResult:
        v = self.variant
        return summarize(
            v.label, v.is_given, v.settings, self.history, self.events, self.quality, self.late
        )


def _measure(runs: Sequence[_Run]) -> None:
    """Measure every variant; variants with the same customers share the batch fit."""
    meter = QualityMeter()
    for run in runs:
        quality = meter(run.history)
        if quality is not None:
            run.quality.append(Point.of(run.history.clock_us, quality))


def _cut(topic: str, records: Iterable[Record]) -> Iterator[list[Event]]:
    """Cut records into batches."""
    events: list[Event] = []
    end_us = 0
    for key, value, instant in records:
        if events and (len(events) >= ROUND_RECORDS or (topic == PURCHASES and instant >= end_us)):
            yield events
            events = []
        if not events:
            end_us = instant + ROUND_US
        events.append((topic, key, value))
    if events:
        yield events


def _count(data: Data, batch: MicroBatch) -> None:
    times = batch.purchases.occurred_at
    data.purchases += len(times)
    data.profiles += len(batch.profiles.row)
    data.duplicates += batch.duplicates
    if len(times):
        first, last = int(times.min()), int(times.max())
        data.first_us = first if data.first_us is None else min(data.first_us, first)
        data.last_us = last if data.last_us is None else max(data.last_us, last)
