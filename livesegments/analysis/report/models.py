"""What a report says, as plain data: for a page and for scripts."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from livesegments.segments import Segment

NONE = "none"
"""Stands for no segment where ids are counted."""
OFFERED = 1.1
"""Lift from which a segment is said to like a category, and it is offered to those without it."""


@dataclass(frozen=True, slots=True)
class Target:
    """Whom of a segment marketing may address, and what they are worth.

    Attributes
    ----------
    consenting, refusing, unknown
        Customers by their consent to marketing.
    spend, purchases
        Of all its customers, in the window.
    consenting_spend
        Of those who consent.
    """

    segment: str
    customers: int
    consenting: int
    refusing: int
    unknown: int
    spend: float
    purchases: int
    consenting_spend: float


@dataclass(frozen=True, slots=True)
class Member:
    """A typical customer of a segment, by the keyed hash of the id; None is not known.

    Age is rounded to five years and income to two digits, since no more is needed to picture one.
    """

    hash: str
    segment: str
    distance: float
    purchases: int
    spend: float
    age: float | None
    income: float | None
    location: str | None


@dataclass(frozen=True, slots=True)
class Left:
    """A customer who left the most valuable segment in the period and did not come back.

    Attributes
    ----------
    left_on
        Date of the cause, in event time.
    origin
        What brought it about, as on `segment-changes.v1`.
    segment
        Where they are now, None for nowhere.
    last_purchase
        Date of the end of the tile of their last purchase, or of the clock.
    """

    hash: str
    left_on: str
    origin: str
    segment: str | None
    last_purchase: str
    purchases: int
    spend: float
    marketing: bool | None


@dataclass(frozen=True, slots=True)
class Leaving:
    """A customer of the most valuable segment who leaves it soon, unless they buy.

    Attributes
    ----------
    leaves_on
        Date on which the rules of the service move them, were they to buy nothing until then and
        the centroids to stay where they are.
    segment
        Where to, None for nowhere.
    margin
        How much farther than their own centroid the nearest other one is, as a share; below 0
        another one is nearer, and the switch margin or the dwell holds them.
    """

    hash: str
    leaves_on: str
    segment: str | None
    margin: float
    last_purchase: str
    purchases: int
    spend: float
    marketing: bool | None


@dataclass(frozen=True, slots=True)
class Retention:
    """Who drifts away from the most valuable segment: the first of each list, and how many."""

    segment: str
    left: tuple[Left, ...]
    left_customers: int
    leaving: tuple[Leaving, ...]
    leaving_customers: int


@dataclass(frozen=True, slots=True)
class Categories:
    """Which segment buys what: purchases in the window of customers who are in a segment.

    Attributes
    ----------
    purchases, without
        Those looked at, and how many of them have no category.
    rows
        Category -> segment -> purchases, the most bought first.
    spend
        The same in currency units.
    lift
        The same, relative to the average: the category's share of the segment's purchases over its
        share of all purchases. None where fewer than 5 would be expected.
    """

    purchases: int
    without: int
    rows: Mapping[str, Mapping[str, int]]
    spend: Mapping[str, Mapping[str, float]]
    lift: Mapping[str, Mapping[str, float | None]]


@dataclass(frozen=True, slots=True)
class Drift:
    """How far the model is from the fit that it began with.

    Attributes
    ----------
    shift
        Segment -> standard deviations a feature that its centroid has moved.
    explained_variance
        Share of the customers' spread that the segments explain.
    share_psi, feature_psi
        Population stability index of the sizes and of each feature, and the value above which it
        is neither small nor chance.
    """

    generation: int
    provisional: bool
    fitted_on: int
    shift: Mapping[str, float | None]
    explained_variance: float | None
    share_psi: tuple[float | None, float | None]
    feature_psi: Mapping[str, tuple[float | None, float | None]]


@dataclass(frozen=True, slots=True)
class Quality:
    """How good the data is.

    Attributes
    ----------
    unknown
        Feature -> share of the customers in a segment of whom it is not known.
    purchases
        Valid ones that arrived since the window began;
    duplicates
        how many more were sent again, with an `event_id` that had come before, None where the
        deployment does not look for them;
    late
        how many of them were older than the window when they came, so that they never count.
    dead_letters
        Reason -> (records on the topic, how many of them were sent again).
    behind
        Purchases on the topic that are not folded yet.
    """

    unknown: Mapping[str, float]
    purchases: int
    duplicates: int | None
    late: int
    dead_letters: Mapping[str, tuple[int, int]]
    behind: int


@dataclass(frozen=True, slots=True)
class Report:
    """All of it. Segments are named by id, ``none`` for no segment.

    Attributes
    ----------
    clock
        The latest clock of the partitions; the period of ``days`` ends with its day.
    customers
        In a segment.
    places
        Segment -> feature -> where its centroid and its persona stand, in standard deviations from
        the average customer.
    expected
        Segment -> where its persona stands in natural units.
    days, sizes, moves
        Each day of the period since the first segment was given; the sizes of each segment at its
        end; moves out of a segment by origin.
    transitions
        From segment -> to segment -> changes in the period.
    """

    group: str
    clock: str
    window_days: int
    currency: str
    customers: int
    segments: tuple[Segment, ...]
    places: Mapping[str, Mapping[str, tuple[float | None, float]]]
    expected: Mapping[str, Mapping[str, float | None]]
    days: tuple[str, ...]
    sizes: Mapping[str, tuple[int, ...]]
    moves: Mapping[str, tuple[int, ...]]
    transitions: Mapping[str, Mapping[str, int]]
    targets: tuple[Target, ...]
    retention: Retention
    categories: Categories
    typical: tuple[Member, ...]
    drift: Drift
    quality: Quality

    def to_dict(self) -> dict[str, Any]:
        """Return it for JSON."""
        return asdict(self)
