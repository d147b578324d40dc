"""Results of a backtest as plain data: for the terminal, for scripts and for a page."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, date, datetime, timedelta
from statistics import median
from typing import Any

import numpy as np

from livesegments.analysis.backtest.event_log import NONE, EventLog
from livesegments.analysis.backtest.quality import Quality
from livesegments.analysis.backtest.simulator import Simulator
from livesegments.analysis.segments import Segment, describe
from livesegments.config.settings import Settings
from livesegments.features.feature_specs import FEATURES
from livesegments.features.window import DAY_US

YEAR_DAYS = 365.25
_EPOCH = date(1970, 1, 1)
_SHOWN_SETTINGS = (
    *("window_days", "tiles", "switch_margin", "min_dwell"),
    *("warmup_customers", "refit", "refit_gain", "dedup_events", "currency", "personas_file"),
)


@dataclass(slots=True)
class Data:
    """The data read, the same for all settings.

    Attributes
    ----------
    rejected
        Rows and records left out, by reason.
    duplicates
        Purchases with a repeated id.
    """

    purchases: int = 0
    profiles: int = 0
    duplicates: int = 0
    rejected: Counter[str] = field(default_factory=Counter)
    first_us: int | None = None
    last_us: int | None = None

    @property
    def days(self) -> float:
        """Days from the first purchase to the last."""
        if self.first_us is None or self.last_us is None:
            return 0.0
        return (self.last_us - self.first_us) / DAY_US


@dataclass(frozen=True, slots=True)
class Point:
    """Quality at one date."""

    day: str
    by_centroids: float
    as_published: float
    customers: int

    @classmethod
    def of(cls, clock_us: int, quality: Quality) -> "Point":
        """Return a quality with its date."""
        return cls(
            iso(clock_us // DAY_US),
            round(quality.by_centroids, 4),
            round(quality.as_published, 4),
            quality.customers,
        )


@dataclass(frozen=True, slots=True)
class Fit:
    """A generation: its day, and the share of the inertia it saved (the first: None)."""

    day: str
    customers: int
    gain: float | None
    sizes: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Stability:
    """Moves of customers between segments.

    Attributes
    ----------
    assigned, reassigned, unassigned
        First assignments, moves to another segment, and moves to none when the window was empty.
    a_day
        Moves to another segment or to none, over the days since the first fit.
    a_customer_a_year
        Moves to another segment, over the customer-years in one.
    returned
        Share of the moves to another segment that undid the previous one within 30 days.
    held_by_margin, held_by_dwell
        Share of the scorings with another centroid nearest that margin or dwell held back.
    origins
        Moves by origin.
    not_nearest
        Share of the customers at the end in another segment than that of the nearest centroid.
    """

    assigned: int
    reassigned: int
    unassigned: int
    a_day: float
    a_customer_a_year: float
    returned: float
    held_by_margin: float
    held_by_dwell: float
    origins: Mapping[str, int]
    not_nearest: float


@dataclass(frozen=True, slots=True)
class BacktestResult:
    """The result of a history under some settings.

    Attributes
    ----------
    label
        Difference from the other settings, such as ``margin=0.3``.
    is_given
        True for the settings of the environment.
    customers
        With a purchase in the window at the end.
    unknown
        Feature -> share of them without it.
    late
        Purchases older than the window on arrival, which never count.
    days, sizes, moves
        Days since the first fit; sizes of each segment; moves by origin.
    transitions
        From segment -> to segment -> moves; ``none`` is no segment.
    """

    label: str
    is_given: bool
    settings: Mapping[str, Any]
    customers: int
    segments: tuple[Segment, ...]
    unknown: Mapping[str, float]
    late: int
    stability: Stability
    generations: tuple[Fit, ...]
    quality: tuple[Point, ...]
    days: tuple[str, ...]
    sizes: Mapping[str, tuple[int, ...]]
    moves: Mapping[str, tuple[int, ...]]
    transitions: Mapping[str, Mapping[str, int]]

    def inertia(self, name: str) -> tuple[float, float]:
        """Return median and highest of a quality over the dates; NaN without any."""
        found = [getattr(point, name) for point in self.quality]
        return (median(found), max(found)) if found else (float("nan"), float("nan"))

    def to_dict(self) -> dict[str, Any]:
        """Return it for JSON."""
        return asdict(self)


def summarize(
    label: str,
    is_given: bool,
    settings: Settings,
    history: Simulator,
    events: EventLog,
    quality: Sequence[Point],
    late: int,
) -> BacktestResult:
    """Return the result of a simulation."""
    now = history.population()
    days = _days(history)
    moves = _by_day(events, days)
    unknown = np.isnan(now.vectors).mean(axis=0) if len(now.vectors) else np.ones(len(FEATURES))
    sizes = _sizes(events, days, history.rules.segment_ids)
    return BacktestResult(
        label=label,
        is_given=is_given,
        settings={name: _plain(getattr(settings, name)) for name in _SHOWN_SETTINGS},
        customers=len(now.vectors),
        segments=_segments(history, sizes),
        unknown={
            name: round(float(share), 4) for name, share in zip(FEATURES, unknown, strict=True)
        },
        late=late,
        stability=_stability(history, events, sizes, len(days)),
        generations=tuple(
            Fit(
                iso(each.clock_us // DAY_US),
                each.customers,
                None if each.gain is None else round(each.gain, 4),
                dict(zip(each.generation.segments, each.generation.sizes, strict=True)),
            )
            for each in history.generations
        ),
        quality=tuple(quality),
        days=tuple(iso(day) for day in days),
        sizes=sizes,
        moves=moves,
        transitions=_transitions(events, history.rules.segment_ids),
    )


def iso(day: int) -> str:
    """Return a day since the epoch as a date."""
    return (_EPOCH + timedelta(days=day)).isoformat()


def iso_of(time_us: int) -> str:
    """Return the date of a time."""
    return datetime.fromtimestamp(time_us / 1e6, UTC).date().isoformat()


def _plain(value: Any) -> Any:
    if isinstance(value, timedelta):
        return value.total_seconds()
    return value if value is None or isinstance(value, int | float | str) else str(value)


def _days(history: Simulator) -> range:
    if not history.generations:
        return range(0)
    return range(history.generations[0].clock_us // DAY_US, history.clock_us // DAY_US + 1)


def _sizes(events: EventLog, days: range, segments: Sequence[str]) -> dict[str, tuple[int, ...]]:
    rows, last = [], (0,) * len(segments)
    for day in days:
        last = events.sizes.get(day, last)
        rows.append(last)
    columns = zip(*rows, strict=True) if rows else ((),) * len(segments)
    return dict(zip(segments, columns, strict=True))


def _by_day(events: EventLog, days: range) -> dict[str, tuple[int, ...]]:
    """Return the moves out of a segment of each day, by origin."""
    origins = sorted({origin for _, before, _, origin in events.moves if before != NONE})
    counts = {origin: [0] * len(days) for origin in origins}
    for (day, before, _, origin), n in events.moves.items():
        if before != NONE:
            counts[origin][day - days.start] += n
    return {origin: tuple(count) for origin, count in counts.items()}


def _transitions(events: EventLog, segments: Sequence[str]) -> dict[str, dict[str, int]]:
    names = (*segments, NONE)
    found = {before: dict.fromkeys(names, 0) for before in names}
    for (_, before, after, _), n in events.moves.items():
        found[before][after] += n
    return found


def _segments(history: Simulator, sizes: Mapping[str, tuple[int, ...]]) -> tuple[Segment, ...]:
    model = history.model.model({0: history.owned})
    if model is None:
        return ()
    return describe(
        model,
        history.rules.personas,
        {segment: of_days[-1] for segment, of_days in sizes.items()},
    )


def _stability(
    history: Simulator, events: EventLog, sizes: Mapping[str, tuple[int, ...]], days: int
) -> Stability:
    kinds: Counter[str] = Counter()
    origins: Counter[str] = Counter()
    for (_, before, after, origin), n in events.moves.items():
        kind = "assigned" if before == NONE else "unassigned" if after == NONE else "reassigned"
        kinds[kind] += n
        if before != NONE:
            origins[origin] += n
    years = sum(map(sum, sizes.values())) / YEAR_DAYS
    switches = kinds["reassigned"] + events.held.total()
    now, carries = history.population(), np.full(1, -1)
    model = history.model.model({0: history.owned})
    if model is not None:
        carries = np.append(model.segment_of_cluster, -1)
    elsewhere = np.count_nonzero(carries[now.cluster] != now.segment)
    return Stability(
        assigned=kinds["assigned"],
        reassigned=kinds["reassigned"],
        unassigned=kinds["unassigned"],
        a_day=_share(kinds["reassigned"] + kinds["unassigned"], days, 2),
        a_customer_a_year=_share(kinds["reassigned"], years, 2),
        returned=_share(events.returns, kinds["reassigned"]),
        held_by_margin=_share(events.held["margin"], switches),
        held_by_dwell=_share(events.held["dwell"], switches),
        origins=dict(origins.most_common()),
        not_nearest=_share(int(elsewhere), len(now.segment)),
    )


def _share(part: float, whole: float, digits: int = 4) -> float:
    return round(part / whole, digits) if whole else 0.0
