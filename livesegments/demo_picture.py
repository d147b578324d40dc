"""What the demo shows at one moment, however it is drawn, and the words for it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

from contracts.segments import Centroid, SegmentChange, SegmentRef
from features.catalogue import CATALOGUE, Feature
from livesegments.demo_metrics import WorkerMetrics
from livesegments.demo_seen import Seen

# Spelled out here, for the first picture comes before SciPy, which `model.personas` loads, does.
SEGMENTS = {
    "high-value-customers": "High-Value Customers",
    "young-professionals": "Young Professionals",
    "families": "Families",
    "students": "Students",
    "retirees": "Retirees",
}
UNKNOWN = "-"
_IN_THOUSANDS = 10_000
SIGMA = "\N{GREEK SMALL LETTER SIGMA}"

_TRIGGERS = {
    "live": "bought",
    "expiry": "time",
}


@dataclass(frozen=True, slots=True)
class Step:
    """Something done before events flow; ``seconds`` is None while it is under way."""

    name: str
    detail: str = ""
    seconds: float | None = None


@dataclass(frozen=True, slots=True)
class SegmentRow:
    """A segment: customers whose published segment it is, their mean, and how far that moved."""

    id: str
    name: str
    customers: int
    share: float | None
    centroid: Centroid | None
    shift: float | None


@dataclass(frozen=True, slots=True)
class Picture:
    """Everything on the screen; None is not known yet.

    Parameters
    ----------
    elapsed
        Seconds since the start.
    steps
        The preparations.
    purchases, total
        Purchases folded, and in the data.
    rate
        Purchases folded a second.
    event_time
        Of the latest change.
    segments
        The five, in the order of `SEGMENTS`.
    assigned
        Customers in a segment.
    unassigned
        Customers who have been in one and are in none now.
    changes, recent
        How many there were, and the latest, newest first.
    metrics
        The worker's own figures.
    """

    elapsed: float
    steps: tuple[Step, ...] = ()
    purchases: int = 0
    total: int | None = None
    rate: float | None = None
    event_time: datetime | None = None
    segments: tuple[SegmentRow, ...] = ()
    assigned: int = 0
    unassigned: int = 0
    changes: int = 0
    recent: Sequence[SegmentChange] = ()
    metrics: WorkerMetrics = field(default_factory=WorkerMetrics)


def segment_rows(seen: Seen, metrics: WorkerMetrics) -> tuple[SegmentRow, ...]:
    """Return the five segments as a subscriber sees them."""
    assigned = sum(seen.sizes[segment] for segment in SEGMENTS)
    rows = []
    for segment, name in SEGMENTS.items():
        definition = seen.definitions.get(segment)
        rows.append(
            SegmentRow(
                id=segment,
                name=name,
                customers=seen.sizes[segment],
                share=seen.sizes[segment] / assigned if assigned else None,
                centroid=definition.centroid if definition else None,
                shift=metrics.shifts.get(segment),
            )
        )
    return tuple(rows)


def centroid_cells(centroid: Centroid | None, unit: str = "$") -> tuple[str, ...]:
    """Return each feature's mean as text, `UNKNOWN` where not known.

    ``unit`` goes before amounts of money.
    """
    if centroid is None:
        return (UNKNOWN,) * len(CATALOGUE)
    return tuple(_mean(each, getattr(centroid, each.name), unit) for each in CATALOGUE)


def _mean(feature: Feature, value: float | None, unit: str) -> str:
    if value is None or not feature.is_money:
        return _number(value, f"{{:,.{feature.digits}f}}")
    return f"{unit}{value:,.0f}" if value < _IN_THOUSANDS else f"{unit}{value / 1000:,.0f}k"


def _number(value: float | None, form: str) -> str:
    return UNKNOWN if value is None else form.format(value)


def share(value: float | None) -> str:
    """Return a share in per cent."""
    return _number(None if value is None else value * 100, "{:.0f}%")


def deviations(value: float | None) -> str:
    """Return a distance in standard deviations."""
    return _number(value, "{:.2f}")


def milliseconds(latency: tuple[float, float] | None) -> str:
    """Return a median and a 99th percentile."""
    if latency is None:
        return f"median {UNKNOWN}, p99 {UNKNOWN}"
    return f"median {latency[0] * 1000:.0f} ms, p99 {latency[1] * 1000:.0f} ms"


def day(moment: datetime | None) -> str:
    """Return a date."""
    return UNKNOWN if moment is None else f"{moment:%d %b %Y}"


def warmup(metrics: WorkerMetrics) -> str:
    """Return what the first fit waits for."""
    so_far = f"{metrics.warmup:,} of " if metrics.warmup else ""
    return (
        f"warm-up: the model is fitted once {so_far}{metrics.warmup_required:,} households"
        " have bought"
    )


def segment_name(segment: SegmentRef | None) -> str:
    """Return a segment's name."""
    return "no segment" if segment is None else segment.name


def reason(change: SegmentChange, sigma: str = SIGMA) -> str:
    """Return why a customer moved: what made the worker look, and what stands out most.

    The number is how far the customer is from the mean of all, in standard deviations.
    """
    trigger = _TRIGGERS.get(change.origin, change.origin)
    if not change.explanation or change.segment is None:
        return trigger if change.segment else f"{trigger}: no purchase left"
    first = change.explanation[0]
    return f"{trigger}: {first.feature} {first.z_score:+.1f}{sigma}"
