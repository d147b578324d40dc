"""A report as plain data, for the page and for scripts."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from livesegments.analysis.segments import Segment

NONE = "none"
"""Stands for no segment where ids are counted."""
OFFERED = 1.1
"""Lift from which a segment prefers a category, and it is offered to customers without it."""


@dataclass(frozen=True, slots=True)
class Target:
    """Consent to marketing in a segment, and the value of its customers.

    Attributes
    ----------
    consenting, refusing, unknown
        Customers by their consent to marketing.
    spend, purchases
        Of all customers, in the window.
    consenting_spend
        Of customers with consent.
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
class TypicalCustomer:
    """A typical customer of a segment, by the keyed hash of the id; None: unknown.

    Age is rounded to five years and income to two digits.
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
class LostCustomer:
    """A customer that left the most valuable segment in the period and did not come back.

    Attributes
    ----------
    left_on
        Date of the cause, in event time.
    origin
        Origin of the change, as on `segment-changes.v1`.
    segment
        The current one, None for no segment.
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
class AtRiskCustomer:
    """A customer of the most valuable segment that leaves it soon, unless they buy.

    Attributes
    ----------
    leaves_on
        Date on which the service moves them if they buy nothing until then and the centroids do
        not change.
    segment
        The next one, None for no segment.
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
    """Churn from the most valuable segment: the head of each list, and its length."""

    segment: str
    left: tuple[LostCustomer, ...]
    left_customers: int
    leaving: tuple[AtRiskCustomer, ...]
    leaving_customers: int


@dataclass(frozen=True, slots=True)
class Categories:
    """Purchases in the window by category and segment of the customer.

    Attributes
    ----------
    purchases, without
        Their number, and the number without a category.
    rows
        Category -> segment -> purchases, the most bought first.
    spend
        The same in currency units.
    lift
        The category's share of the segment's purchases over its share of all purchases. None where
        fewer than 5 would be expected.
    """

    purchases: int
    without: int
    rows: Mapping[str, Mapping[str, int]]
    spend: Mapping[str, Mapping[str, float]]
    lift: Mapping[str, Mapping[str, float | None]]


@dataclass(frozen=True, slots=True)
class Drift:
    """Drift of the model since the fit of its generation.

    Attributes
    ----------
    shift
        Segment -> distance that its centroid has moved, standard deviations per feature.
    explained_variance
        Share of the variance between customers that the segments explain.
    share_psi, feature_psi
        Population stability index of the sizes and of each feature, each with its noise level.
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
    """Quality of the data.

    Attributes
    ----------
    unknown
        Feature -> share of the customers in a segment without it.
    purchases
        Valid purchases that arrived since the window began.
    duplicates
        Further purchases with a repeated `event_id`, None where the deployment does not check.
    late
        Purchases older than the window on arrival, which never count.
    dead_letters
        Reason -> (records on the topic, number of them replayed).
    behind
        Purchases on the topic that are not processed yet.
    """

    unknown: Mapping[str, float]
    purchases: int
    duplicates: int | None
    late: int
    dead_letters: Mapping[str, tuple[int, int]]
    behind: int


@dataclass(frozen=True, slots=True)
class Report:
    """The whole report. Segments are named by id, ``none`` for no segment.

    Attributes
    ----------
    clock
        Latest clock of the partitions; the period ``days`` ends with its day.
    customers
        In a segment.
    places
        Segment -> feature -> position of its centroid and of its persona, in standard deviations
        from the average customer.
    expected
        Segment -> position of its persona in natural units.
    days, sizes, moves
        Days of the period since the first assignment; sizes of each segment at their end; moves
        out of a segment by origin.
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
    typical: tuple[TypicalCustomer, ...]
    drift: Drift
    quality: Quality

    def to_dict(self) -> dict[str, Any]:
        """Return it for JSON."""
        return asdict(self)
