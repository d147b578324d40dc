"""Drift detection: which drifts are found, after how long, and how many alarms are false.

A year of real purchases is monitored as a worker does it (`livesegments.consumers.drift_monitor`),
first unchanged, then again with a drift injected from a given day. After every batch the conditions
of the drift alerts (deploy/alerts.yml, without their ``for``) and the detections are evaluated.
"""

import copy
import json
import re
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

import numpy as np
from prometheus_client import CollectorRegistry

from bench.history import History, journey
from bench.report import Table
from livesegments.config.segmentation import built_in
from livesegments.consumers.drift_monitor import DriftMonitor
from livesegments.contracts.topics import PROFILES, PURCHASES
from livesegments.features.window import DAY_US
from livesegments.monitoring.metrics import Metrics
from livesegments.monitoring.series import PREFIX

ALERTS = Path(__file__).parent.parent / "deploy" / "alerts.yml"
BATCH, START_DAY, EVENTS = 250, 150.0, 40_000
CONDITIONS = (
    "CentroidShift",
    "SharesDrift",
    "FeatureDrift",
    "ExplainedVarianceDrop",
    "ClusterEmpty",
)
SIGNALS = (("distance", "adwin"), ("reassigned", "adwin"), ("inertia", "page_hinkley"))
SEGMENTATION = built_in("personas")
VALUES = {"segment": SEGMENTATION.segment_ids, "feature": SEGMENTATION.feature_names}
NAMES = (*CONDITIONS, *(f"{signal} {detector}" for signal, detector in SIGNALS))

Event = tuple[str, bytes, bytes]


def threshold(alert: str, pattern: str) -> float:
    """Return the threshold in an alert's expression."""
    rule = ALERTS.read_text().partition(f"alert: {alert}\n")[2].partition("- alert:")[0]
    found = re.search(pattern, rule)
    if found is None:
        raise ValueError(f"{ALERTS.name}: {alert} has no {pattern}")
    return float(found[1])


@dataclass
class Watch:
    """A monitored history: the alerts that would fire and the detectors that did."""

    history: History
    registry: CollectorRegistry = field(default_factory=CollectorRegistry)
    explained: list[tuple[float, float]] = field(default_factory=list)
    """(day, explained variance) so far."""
    farthest: float = 0.0
    """Largest shift of a centroid so far, in standard deviations."""
    round_s: float = 0.0
    detectors_s: float = 0.0
    """Seconds spent in processing, and in the detectors."""

    def __post_init__(self) -> None:
        self.watch = DriftMonitor(
            Metrics(self.registry, SEGMENTATION), SEGMENTATION, lambda: self.history.current()
        )
        self._shift = threshold("CentroidShift", r"stddevs\) > ([\d.]+)")
        self._drop = threshold("ExplainedVarianceDrop", r"< ([\d.]+) \*")
        self._detections = dict.fromkeys(SIGNALS, 0.0)

    @property
    def day(self) -> float:
        """Days since the epoch, in event time."""
        return self.history.state.checkpoint.clock_us / DAY_US

    @property
    def settled(self) -> bool:
        """True when the model was fitted on full windows."""
        generation = self.history.model.generation
        return generation is not None and not generation.provisional

    def feed(self, events: Sequence[Event]) -> set[str]:
        """Process a micro-batch; return its detections and the alert conditions that then hold."""
        history = self.history
        model = history.model.model({0: history.state})
        start = time.process_time()
        history.take(events)
        folded = time.process_time()
        self.watch.look(history.watched, model)
        self.round_s += folded - start
        self.detectors_s += time.process_time() - folded
        history.watched.clear()
        if history.model.generation is None:
            return set()
        return {*self._detected(), *self._look()}

    def _detected(self) -> Iterator[str]:
        for signal, detector in SIGNALS:
            found = self.value("drift_detections_total", signal=signal, detector=detector)
            if found > self._detections[signal, detector]:
                self._detections[signal, detector] = found
                yield f"{signal} {detector}"

    def _look(self) -> Iterator[str]:
        history, now_s = self.history, self.history.state.checkpoint.clock_us / 1e6
        self.watch.observe(history.model.complete({0: history.state}), True, now_s)
        explained = self.value("explained_variance_ratio")
        self.explained.append((self.day, explained))
        week = [ratio for day, ratio in self.explained if day > self.day - 7]
        if explained < self._drop * np.median(week):
            yield "ExplainedVarianceDrop"
        if min(self.all("cluster_customers", "segment")) == 0:
            yield "ClusterEmpty"
        if self.value("model_provisional"):
            return
        shift = max(self.all("centroid_shift_stddevs", "segment"))
        self.farthest = max(self.farthest, shift)
        if shift > self._shift:
            yield "CentroidShift"
        if self.value("segment_share_psi") > self.value("segment_share_psi_critical"):
            yield "SharesDrift"
        psi, critical = (
            self.all("feature_psi", "feature"),
            self.all("feature_psi_critical", "feature"),
        )
        if any(a > b for a, b in zip(psi, critical, strict=True)):
            yield "FeatureDrift"

    def value(self, name: str, **labels: str) -> float:
        """Return a sample as a worker would expose it."""
        full_name = PREFIX + name
        metrics = self.registry.restricted_registry([full_name]).collect()
        return next(s.value for each in metrics for s in each.samples if s.labels == labels)

    def all(self, name: str, label: str) -> list[float]:
        """Return the samples of all values of a label."""
        return [self.value(name, **{label: each}) for each in VALUES[label]]

    def fork(self) -> "Watch":
        """Return an independent copy that continues from here."""
        forked = Watch(copy.deepcopy(self.history), explained=list(self.explained))
        forked.watch._watching = self.watch._watching
        forked.watch._detectors = copy.deepcopy(self.watch._detectors)
        return forked

    def members(self, segment: str) -> set[bytes]:
        """Return the keys of the customers in a segment's cluster."""
        generation = self.history.model.generation
        assert generation is not None
        cluster = generation.segments.index(segment)
        inside = (self.history.all()["cluster"] == cluster).tolist()
        names = zip(self.history.records, inside, strict=True)
        return {name.encode() for name, is_in in names if is_in}


Drift = Callable[[Sequence[Event], Watch], Sequence[Event]]
"""Returns the following events with a drift injected."""


def amounts_in_cents(events: Sequence[Event], _: Watch) -> list[Event]:
    """A till sends amounts in cents instead of dollars."""
    return [_with_amount(event, 100.0) for event in events]


def incomes_a_month(events: Sequence[Event], watch: Watch) -> list[Event]:
    """All incomes are sent again, monthly instead of yearly."""
    now = json.loads(events[0][2])["occurred_at"]
    incomes = zip(watch.history.records, watch.history.all()["income"].tolist(), strict=True)
    again = [
        {"customer_id": name, "updated_at": now, "income": income / 12}
        for name, income in incomes
        if not np.isnan(income)
    ]
    profiles = [(PROFILES, p["customer_id"].encode(), json.dumps(p).encode()) for p in again]
    return [*profiles, *events]


def families_spend_five_times(events: Sequence[Event], watch: Watch) -> list[Event]:
    """The baskets of one segment's customers cost five times as much."""
    families = watch.members("families")
    return [_with_amount(e, 5.0) if e[1] in families else e for e in events]


def students_stop_buying(events: Sequence[Event], watch: Watch) -> list[Event]:
    """The customers of one segment stop buying."""
    students = watch.members("students")
    return [event for event in events if event[1] not in students]


def bots(events: Sequence[Event], _: Watch) -> list[Event]:
    """Every fifth purchase is a one-dollar purchase by one of 300 new customers."""
    mixed = []
    for i, event in enumerate(events):
        mixed.append(event)
        if i % 4 == 3 and event[0] == PURCHASES:
            bot = f"bot-{i // 4 % 300}"
            value = json.loads(event[2])
            value |= {"event_id": f"bot-{i}", "customer_id": bot, "amount": 1.0}
            mixed.append((PURCHASES, bot.encode(), json.dumps(value).encode()))
    return mixed


DRIFTS: dict[str, Drift] = {
    "amounts in cents": amounts_in_cents,
    "incomes a month": incomes_a_month,
    "families spend five times as much": families_spend_five_times,
    "students stop buying": students_stop_buying,
    "bots, a fifth of purchases": bots,
}


def run(
    events: Sequence[Event] | None = None, start_day: float = START_DAY, limit: int = EVENTS
) -> Table:
    """Monitor a quiet year, then each drift from a given day for a given number of events."""
    stream = list(journey() if events is None else events)
    quiet, fork, fed, at = Watch(History()), None, 0, 0
    alarms: dict[str, int] = dict.fromkeys(NAMES, 0)
    first = settled = 0.0
    before: set[str] = set()
    for batch in _batches(stream):
        holds = quiet.feed(batch)
        first = first or quiet.day
        if not settled and quiet.settled:
            settled = quiet.day - first
        for name in holds - before:
            alarms[name] += 1
        before = holds
        fed += len(batch)
        if fork is None and quiet.day - first >= start_day:
            fork, at = quiet.fork(), fed
    if fork is None:
        raise ValueError(f"the events end before day {start_day:g}")
    table = Table(
        f"Drift, from day {start_day:g} of a year of purchases on: events until it is found",
        ("", *NAMES),
    )
    table.add("false alarms in the quiet year", *(str(alarms[name]) for name in NAMES))
    for name, drift in DRIFTS.items():
        found = delays(fork.fork(), drift, stream[at:], limit)
        table.add(name, *(f"{found[n]:,}" if n in found else "-" for n in NAMES))
    table.note(
        f"the model is provisional until day {settled:.0f}: windows fill, drift is not judged"
    )
    table.note(f"largest shift of a centroid in the quiet year: {quiet.farthest:.2f} stddevs")
    table.note(f"{len(stream) / (quiet.day - first):.0f} events a day")
    table.note(
        f"detectors cost {quiet.detectors_s / quiet.round_s:.2%} of the rounds, {BATCH} events each"
    )
    table.goal("no false alarm", not any(alarms.values()))
    return table


def delays(watch: Watch, drift: Drift, events: Sequence[Event], limit: int) -> dict[str, int]:
    """Return the number of events until each condition first held, for those that did."""
    found: dict[str, int] = {}
    fed = 0
    for batch in _batches(drift(events[:limit], watch)):
        fed += len(batch)
        for name in watch.feed(batch):
            found.setdefault(name, fed)
    return found


def _batches(events: Sequence[Event]) -> Iterator[list[Event]]:
    rest = iter(events)
    while batch := list(islice(rest, BATCH)):
        yield batch


def _with_amount(event: Event, factor: float) -> Event:
    topic, key, value = event
    if topic != PURCHASES:
        return event
    purchase = json.loads(value)
    purchase["amount"] = round(float(purchase["amount"]) * factor, 2)
    return topic, key, json.dumps(purchase).encode()
