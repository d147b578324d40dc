"""Output records: the change log, the current state, and the definitions of the segments.

Subscribers read with these models (``SegmentChange.model_validate_json(record.value)``); unknown
fields are ignored, so that additions stay compatible. Publishers write with `encode`.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Literal, TypeVar

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Field,
    PlainSerializer,
    ValidationError,
    WithJsonSchema,
)
from pydantic_core import to_json

from livesegments.contracts.cloudevents import read_provenance

if TYPE_CHECKING:
    from kafka.consumer.fetcher import ConsumerRecord


def _in_utc(instant: datetime) -> datetime:
    return instant.astimezone(UTC)


def _rfc3339(instant: datetime) -> str:
    return instant.isoformat(timespec="microseconds").replace("+00:00", "Z")


UtcInstant = Annotated[
    AwareDatetime,
    AfterValidator(_in_utc),
    PlainSerializer(_rfc3339, when_used="json"),
    WithJsonSchema({"type": "string", "format": "date-time"}),
]
Feature = Literal["purchases", "spend", "recency", "basket", "age", "income", "urbanicity"]
# Looser than the contract of inputs: older releases accepted ids with blanks at their ends.
CustomerId = Annotated[
    str, Field(min_length=1, max_length=128, description="Also the key of the record, in UTF-8")
]
MOST_SEGMENTS = 12
Origin = Literal["live", "profile", "expiry", "model", "backfill", "erasure", "recovery"]
# A subscriber of this release reads what a later one adds.
AnyFeature = Annotated[Feature | str, Field(description="More may come")]
AnyOrigin = Annotated[Origin | str, Field(description='More may come: treat one as "other"')]


Model = TypeVar("Model", bound=BaseModel)


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore", allow_inf_nan=False)


class SegmentRef(_Frozen):
    """A segment by its immutable id, with its name for display."""

    id: str
    name: str


class Cause(_Frozen):
    """The input record that brought a change about."""

    event_id: Annotated[
        str | None, Field(description="Of an erasure its `request_id`; a profile has none")
    ]
    topic: str
    partition: int
    offset: int


class Explanation(_Frozen):
    """A feature of the customer that made the change, the one with the largest part first."""

    feature: AnyFeature
    direction: Literal["above", "below"]
    z_score: Annotated[
        float, Field(description="Distance from the mean of all, in standard deviations")
    ]
    previous_z_score: Annotated[
        float | None,
        Field(
            description="The same of the customer as of their last change, by the mean of today;"
            " null where that is not known"
        ),
    ] = None
    contribution: Annotated[
        float | None,
        Field(
            description="Part in the move, in squared standard deviations: positive if it speaks"
            " for it. Null in records of earlier releases"
        ),
    ] = None


class OtherContributions(_Frozen):
    """Parts in a move that no feature of the explanation has, in squared standard deviations."""

    model: Annotated[
        float | None,
        Field(
            description="Of the centroids and the scale, which moved while the customer stayed;"
            " null if the customer is not compared with their last change"
        ),
    ]
    profile: Annotated[
        float,
        Field(
            description="Of profile values that are not known any more and, if time alone brought"
            " the change about, of those that an earlier profile changed"
        ),
    ]


class ModelRef(_Frozen):
    """The generation of the model and the version of the statistics behind a decision."""

    generation: int
    version: int


class PublishedConsent(_Frozen):
    """Consent to marketing; null is not known."""

    marketing: bool | None


class SegmentChange(_Frozen):
    """One customer moved: before and after in one event, never an exit and an entry apart."""

    customer_id: CustomerId
    change: Literal["assigned", "reassigned", "unassigned"]
    previous_segment: SegmentRef | None
    segment: SegmentRef | None
    occurred_at: Annotated[UtcInstant, Field(description="Event time of the cause")]
    decided_at: UtcInstant
    version: Annotated[int, Field(ge=0, description="Strictly rising per customer")]
    origin: AnyOrigin
    cause: Cause | None
    confidence: Annotated[float, Field(ge=0, le=1)] | None
    distance: Annotated[float, Field(ge=0, description="To the segment's centroid")] | None
    runner_up: SegmentRef | None
    explanation: tuple[Explanation, ...]
    other_contributions: Annotated[
        OtherContributions | None,
        Field(
            description="With the contributions of the explanation they add up to the whole: how"
            " much nearer the segment is than the previous one (or the runner-up), less the same"
            " as of the last change. Null without a segment, and in records of earlier releases"
        ),
    ] = None
    model: ModelRef
    consent: PublishedConsent


class SegmentState(_Frozen):
    """A customer's current segment; the value is null if nothing is kept of the customer."""

    customer_id: CustomerId
    segment: SegmentRef | None
    since: Annotated[
        UtcInstant,
        Field(
            description="Start of the segment: `occurred_at` of the change, but not ahead of the"
            " partition's clock, nor before the `since` of the segment before. With `MIN_DWELL`"
            " that of a late event is its arrival"
        ),
    ]
    version: Annotated[int, Field(ge=0, description="That of the change that led here")]
    confidence: Annotated[float, Field(ge=0, le=1)] | None = None
    consent: PublishedConsent
    model: ModelRef


class Centroid(_Frozen):
    """Means in natural units; null where nothing is known, or the feature is not selected.

    Those of purchases, spend, basket and income are means of logarithms.
    """

    purchases: Annotated[float | None, Field(description="In the window")]
    spend: Annotated[float | None, Field(description="In the window, in currency units")]
    age: Annotated[float | None, Field(description="Years")]
    income: Annotated[float | None, Field(description="Per year")]
    urbanicity: Annotated[float | None, Field(description="0 rural, 0.5 suburban, 1 urban")]
    recency: Annotated[
        float | None, Field(description="Days since the last purchase, in thirds of the window")
    ] = None
    basket: Annotated[
        float | None, Field(description="Spend a purchase in the window, in currency units")
    ] = None


Vector = Annotated[tuple[float | None, ...], Field(min_length=1)]


class FittedHistogram(_Frozen):
    """Distribution of a feature at the fit."""

    edges: Annotated[tuple[float, ...], Field(description="Inner edges of the bins, rising")]
    counts: Annotated[
        tuple[Annotated[int, Field(ge=0)], ...],
        Field(description="Customers in each bin, and last those with an unknown value"),
    ]


class FittedModel(_Frozen):
    """A generation as it was fitted, in feature units and the order of `features`.

    With the definitions of one generation, one for each segment, a reader rebuilds the model
    exactly: JSON numbers keep every bit of a double.
    """

    features: tuple[AnyFeature, ...] = ("purchases", "spend", "age", "income", "urbanicity")
    centroid: Annotated[Vector, Field(description="Initial centroid of this segment's cluster")]
    mean: Annotated[Vector, Field(description="Over all customers")]
    variance: Annotated[Vector, Field(description="Over all customers")]
    size: Annotated[int, Field(ge=0, description="Customers of the fit in this cluster")]
    histograms: Annotated[
        tuple[FittedHistogram, ...], Field(description="Of each feature; none when not known")
    ] = ()
    provisional: Annotated[
        bool, Field(description="Fitted while windows were filling; replaced once they are full")
    ] = False


class SegmentDefinition(_Frozen):
    """Current definition of a segment; the key of its record is the segment id."""

    id: str
    name: str
    description: str
    centroid: Centroid
    size: Annotated[int, Field(ge=0, description="Customers")]
    generation: Annotated[int, Field(ge=1)]
    cluster: Annotated[int, Field(ge=0, le=MOST_SEGMENTS - 1)]
    persona_distance: Annotated[
        Annotated[float, Field(ge=0)] | None,
        Field(
            description="From where the persona of this name is expected to be, root mean square"
            " over the features known, in standard deviations of all customers"
        ),
    ]
    named_by: Annotated[
        tuple[AnyFeature, ...],
        Field(
            description="Features that the name rests on: without age, income and urbanicity it"
            " describes only how the customers buy"
        ),
    ] = ()
    model: FittedModel
    version: Annotated[int, Field(ge=0)]


def read(model: type[Model], record: "ConsumerRecord") -> Model | None:
    """Return what a record of an output topic holds; None if another producer wrote something else.

    Raises
    ------
    ValueError
        If a worker wrote it, of another release, that this one cannot read.
    """
    try:
        return model.model_validate_json(record.value)
    except ValidationError as error:
        if read_provenance(record.headers) is None:
            return None
        first = error.errors()[0]
        raise ValueError(
            f"{record.topic}, partition {record.partition}, offset {record.offset}: is no"
            f" {model.__name__} of this release ({'.'.join(map(str, first['loc']))}:"
            f" {first['msg']}); a worker of another one wrote it"
        ) from None


def encode(event: BaseModel | Mapping[str, object] | str | float) -> bytes:
    """JSON of a model above, or of plain data in its shape or of a part of it.

    Plain data with times as text (`livesegments.contracts.timestamps.rfc3339`) takes a fifth of the
    time of a model and is not validated: tests compare the published records with the models. NaN
    becomes null.
    """
    return to_json(event, inf_nan_mode="null")
