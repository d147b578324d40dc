"""What a backtest found, as plain data: for the terminal, for scripts and for a page."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, date, datetime, timedelta
from statistics import median
from typing import Any

import numpy as np

from features.layout import DAY_US
from features.vector import FEATURES
from livesegments.analysis.backtest.event_log import NONE, Journal
from livesegments.analysis.backtest.quality import Quality
from livesegments.analysis.backtest.simulator import History
from livesegments.segments import Segment, describe
from livesegments.settings import Settings

YEAR_DAYS = 365.25
_EPOCH = date(1970, 1, 1)
_SHOWN_SETTINGS = (
    *("window_days", "tiles", "switch_margin", "min_dwell"),
    *("warmup_customers", "refit", "refit_gain", "dedup_events", "currency", "personas_file"),
)


@dataclass(slots=True)
class Data:
    """What was read: the same for all settings.

    Attributes
    ----------
    rejected
        Rows and records left out, by why.
    duplicates
        Purchases whose id had come before.
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
    """A generation: when it came, and the share of the inertia it saved (the first: None)."""

    day: str
    customers: int
    gain: float | None
    sizes: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Stability:
    """How customers moved, once they were in a segment.

    Attributes
    ----------
    assigned, reassigned, unassigned
        First segments, moves to another, and moves to none when the window was empty.
    a_day
        Moves to another segment or to none, over the days since the first fit.
    a_customer_a_year
        Moves to another segment, over the years that customers were in one.
    returned
        Share of the moves to another segment that undid the last one within 30 days.
    held_by_margin, held_by_dwell
        Share of the times that another centroid was nearest, and that margin or dwell held.
    origins
        Moves by why.
    not_nearest
        Share of the customers at the end whose segment is not that of the nearest centroid.
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
class Outcome:
    """What came of a history under some settings.

    Attributes
    ----------
    label
        What tells the settings from the others, such as ``margin=0.3``.
    is_given
        Whether they are those of the environment.
    customers
        With a purchase in the window at the end.
    unknown
        Feature -> share of them of whom it is not known.
    late
        Purchases that were older than the window when they came, so that they never count.
    days, sizes, moves
        Each day since the first fit, the sizes of each segment, and the moves by origin.
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
    history: History,
    journal: Journal,
    quality: Sequence[Point],
    late: int,
) -> Outcome:
    """Put together what a history came to."""
    now = history.population()
    days = _days(history)
    moves = _by_day(journal, days)
    unknown = np.isnan(now.vectors).mean(axis=0) if len(now.vectors) else np.ones(len(FEATURES))
    sizes = _sizes(journal, days, history.rules.segment_ids)
    return Outcome(
        label=label,
        is_given=is_given,
        settings={name: _plain(getattr(settings, name)) for name in _SHOWN_SETTINGS},
        customers=len(now.vectors),
        segments=_segments(history, sizes),
        unknown={
            name: round(float(share), 4) for name, share in zip(FEATURES, unknown, strict=True)
        },
        late=late,
        stability=_stability(history, journal, sizes, len(days)),
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
        transitions=_transitions(journal, history.rules.segment_ids),
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


def _days(history: History) -> range:
    if not history.generations:
        return range(0)
    return range(history.generations[0].clock_us // DAY_US, history.clock_us // DAY_US + 1)


def _sizes(journal: Journal, days: range, segments: Sequence[str]) -> dict[str, tuple[int, ...]]:
    rows, last = [], (0,) * len(segments)
    for day in days:
        last = journal.sizes.get(day, last)
        rows.append(last)
    columns = zip(*rows, strict=True) if rows else ((),) * len(segments)
    return dict(zip(segments, columns, strict=True))


def _by_day(journal: Journal, days: range) -> dict[str, tuple[int, ...]]:
    """Return the moves out of a segment of each day, by origin."""
    origins = sorted({origin for _, before, _, origin in journal.moves if before != NONE})
    counts = {origin: [0] * len(days) for origin in origins}
    for (day, before, _, origin), n in journal.moves.items():
        if before != NONE:
            counts[origin][day - days.start] += n
    return {origin: tuple(count) for origin, count in counts.items()}


def _transitions(journal: Journal, segments: Sequence[str]) -> dict[str, dict[str, int]]:
    names = (*segments, NONE)
    found = {before: dict.fromkeys(names, 0) for before in names}
    for (_, before, after, _), n in journal.moves.items():
        found[before][after] += n
    return found


def _segments(history: History, sizes: Mapping[str, tuple[int, ...]]) -> tuple[Segment, ...]:
    model = history.model.model({0: history.owned})
    if model is None:
        return ()
    return describe(
        model.generation,
        model.snapshot,
        history.model.statistics({0: history.owned}),
        history.rules.personas,
        {segment: of_days[-1] for segment, of_days in sizes.items()},
    )


def _stability(
    history: History, journal: Journal, sizes: Mapping[str, tuple[int, ...]], days: int
) -> Stability:
    kinds: Counter[str] = Counter()
    origins: Counter[str] = Counter()
    for (_, before, after, origin), n in journal.moves.items():
        kind = "assigned" if before == NONE else "unassigned" if after == NONE else "reassigned"
        kinds[kind] += n
        if before != NONE:
            origins[origin] += n
    years = sum(map(sum, sizes.values())) / YEAR_DAYS
    switches = kinds["reassigned"] + journal.held.total()
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
        returned=_share(journal.returns, kinds["reassigned"]),
        held_by_margin=_share(journal.held["margin"], switches),
        held_by_dwell=_share(journal.held["dwell"], switches),
        origins=dict(origins.most_common()),
        not_nearest=_share(int(elsewhere), len(now.segment)),
    )


def _share(part: float, whole: float, digits: int = 4) -> float:
    return round(part / whole, digits) if whole else 0.0
