"""Run of a history through the service's decisions, under one or several settings at once."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict
from functools import partial
from itertools import chain, compress
from pathlib import Path
from typing import Any

from livesegments.analysis.backtest.advice import recommend
from livesegments.analysis.backtest.quality import QualityMeter
from livesegments.analysis.backtest.results import Outcome, Variant, VariantRun, iso_date
from livesegments.analysis.backtest.simulator import Event, EventDecoder
from livesegments.contracts.timestamps import zone_named
from livesegments.contracts.topics import PROFILES, PURCHASES
from livesegments.features.window import DAY_US
from livesegments.ingest.file_formats import FileOptions
from livesegments.ingest.files import BrokenRowError, read_events
from livesegments.operations.implausible_ids import implausible_ids
from livesegments.producers.delivery_tracker import Record

BATCH_RECORDS = 20_000
BATCH_US = DAY_US // 4
"""A batch covers six hours at most: few customers buy twice in it, as in a live batch."""
MEASURED_DAYS = 30

Backtest = dict[str, Any]
"""``data``: the number of purchases, profiles and repeats read, the first and last date, the rows
and records left out by reason, and ids that no person can have (see `ImplausibleId`);
``outcomes``: the result under each settings; ``advice``: which segmentation to take and why, where
several are compared."""


class NothingReadError(ValueError):
    """A file has no purchase that can be counted."""


def backtest(
    purchases: Path,
    profiles: Path | None,
    variants: Sequence[Variant],
    *,
    timezone: str | None = None,
    options: FileOptions | None = None,
    profiles_options: FileOptions | None = None,
    now_ms: int = 0,
    progress: Callable[[int], None] = lambda _: None,
) -> Backtest:
    """Run files through the decisions under each variant.

    Profiles come first; broken rows are counted and left out. Currency and remembered events are
    those of the first variant. Events later than ``now_ms`` since the epoch are rejected, as live;
    with 0 none is.

    Raises
    ------
    FileError
        If a file cannot be read.
    NothingReadError
        If it has no purchase that can be counted.
    """
    rejected: Counter[str] = Counter()
    first_broken: list[BrokenRowError] = []

    def on_broken(row: BrokenRowError) -> None:
        if not first_broken:
            first_broken.append(row)
        rejected[f"{row.field}: {row.why}"] += 1

    read = partial(
        read_events,
        currency=variants[0].settings.currency,
        timezone=zone_named(timezone),
        on_broken=on_broken,
    )
    bought = read(purchases, "purchases", options)
    known: Iterator[Record] = iter(())
    if profiles is not None:
        known = read(profiles, "profiles", profiles_options)
    runs = [VariantRun(variant) for variant in variants]
    history, polls = runs[0].simulator, EventDecoder(now_ms)
    counts: Counter[str] = Counter(purchases=0, profiles=0, duplicates=0, conflicts=0)
    bought_by: Counter[str] = Counter()
    times: list[int] = []
    measured_us = 0
    for events in chain(_cut(PROFILES, known), _cut(PURCHASES, bought)):
        batch = polls.batch(events, history)
        for run in runs:
            run.take(batch)
        occurred = batch.purchases.occurred_at
        bought_by.update(compress(batch.purchases.customer_id, batch.purchases.count.tolist()))
        counts.update(
            purchases=len(occurred),
            profiles=len(batch.profiles.row),
            duplicates=batch.duplicates,
            conflicts=batch.conflicts,
        )
        if len(occurred):
            times = [*times, int(occurred.min()), int(occurred.max())]
            times = [min(times), max(times)]
        progress(counts["purchases"] + counts["profiles"])
        clock_us = history.clock_us
        if clock_us - (measured_us or (times or [clock_us])[0]) >= MEASURED_DAYS * DAY_US:
            measured_us = clock_us
            _measure(runs)
    if not times:
        why = f"; refused: {', '.join(runs[0].dead_letters)}" if runs[0].dead_letters else ""
        why = f"; the first: {first_broken[0]}" if first_broken else why
        raise NothingReadError(f"{purchases}: no purchase that can be counted{why}")
    if measured_us != history.clock_us:
        _measure(runs)
    data = {
        "purchases": counts["purchases"],
        "profiles": counts["profiles"],
        "first": iso_date(times[0]),
        "last": iso_date(times[1]),
        "rejected": dict((rejected + runs[0].dead_letters).most_common()),
        "duplicates": counts["duplicates"],
        "event_id_conflicts": counts["conflicts"],
        "implausible_ids": [asdict(each) for each in implausible_ids(bought_by)],
    }
    segmentations = {run.simulator.config.segmentation for run in runs}
    rated = len(segmentations) > 1
    outcomes = [run.outcome(rated=rated) for run in runs]
    return {"data": data, "outcomes": outcomes, "advice": recommend(outcomes) if rated else None}


def shown(found: Backtest) -> Outcome:
    """Return the result to show in full: that of the settings of the environment."""
    outcomes: list[Outcome] = found["outcomes"]
    return next((each for each in outcomes if each["is_given"]), outcomes[0])


def _measure(runs: Sequence[VariantRun]) -> None:
    """Measure every variant; variants with the same customers share the batch fit."""
    meter = QualityMeter()
    for run in runs:
        run.measure(meter)


def _cut(topic: str, records: Iterable[Record]) -> Iterator[list[Event]]:
    """Cut records into batches."""
    events: list[Event] = []
    end_us = 0
    for key, value, instant in records:
        if events and (len(events) >= BATCH_RECORDS or (topic == PURCHASES and instant >= end_us)):
            yield events
            events = []
        if not events:
            end_us = instant + BATCH_US
        events.append((topic, key, value))
    if events:
        yield events
