"""The events that come in: one definition each, for validation, typing and the published schema.

`TypedDict` rather than `BaseModel`: the decoder turns documents into columns at once, so building
an object of each would be lost work. `strict` keeps JSON types apart: ``"5"`` is no number, ``1``
no boolean. Unknown fields are ignored; null for an optional field means absent.
"""

from typing import Annotated, Any, Literal, NotRequired

from pydantic import BeforeValidator, ConfigDict, Field, TypeAdapter, WithJsonSchema
from typing_extensions import TypedDict  # pydantic needs this one below Python 3.12

from livesegments.contracts.refusal_messages import FLOAT_ID
from livesegments.contracts.timestamps import PATTERN, RFC3339_PATTERN

ORIGIN_HEADER, BACKFILL = "livesegments-origin", b"backfill"
"""Header of purchases and profiles that are history sent late, so that changes say it too."""

_STRICT = ConfigDict(strict=True)

# From zero to 1e10; leading zeros, signs and exponents are not decimal strings.
DECIMAL_PATTERN = r"^((0|[1-9][0-9]{0,9})(\.[0-9]+)?|10000000000(\.0+)?)$"
MAX_DECIMAL = 32
CURRENCY_PATTERN = "^[A-Za-z]{3}$"


def _as_text(found: Any) -> Any:
    """Take whole numbers as their digits; refuse texts that were ids before a program read them."""
    if type(found) is int:
        return str(found)
    if isinstance(found, str) and FLOAT_ID(found):
        raise ValueError("a number with a fraction")
    return found


Identifier = Annotated[
    str,
    Field(
        min_length=1,
        max_length=128,
        # No blank at the ends. Control characters are excluded, so a line feed safely separates
        # joined identifiers.
        pattern=r"^[^\s\u0000-\u001f\u007f-\u009f]"
        r"([^\u0000-\u001f\u007f-\u009f]*[^\s\u0000-\u001f\u007f-\u009f])?$",
    ),
    BeforeValidator(_as_text),
]
# Kept as text: the decoder parses a whole batch of them in NumPy, faster than one datetime each.
Instant = Annotated[
    str,
    Field(
        pattern=PATTERN,
        description="RFC 3339 time with `Z` or an offset; digits past microseconds are cut off",
        # The published schema asks for less than is read.
        json_schema_extra={"format": "date-time", "pattern": RFC3339_PATTERN},
    ),
]
Amount = Annotated[
    Annotated[float, Field(ge=0, le=1e10, allow_inf_nan=False)]
    | Annotated[str, Field(max_length=MAX_DECIMAL, pattern=DECIMAL_PATTERN)],
    Field(
        union_mode="left_to_right",
        description="JSON number or decimal string from 0 to 1e10; rounded to cents, half to even",
    ),
]
CustomerId = Annotated[Identifier, Field(description="Also the key of the record, in UTF-8")]


def _not_checked(schema: dict[str, Any]) -> WithJsonSchema:
    """Return the published schema of a field that nothing computes with: any value is accepted."""
    return WithJsonSchema({"anyOf": [schema, {"type": "null"}]})


class Purchase(TypedDict):
    """A purchase, or the refund of one."""

    __pydantic_config__ = _STRICT  # type: ignore[misc]

    event_id: Identifier
    customer_id: CustomerId
    occurred_at: Instant
    kind: NotRequired[
        Annotated[Literal["purchase", "refund"], Field(description="`purchase` if absent")] | None
    ]
    amount: Amount
    currency: Annotated[
        str,
        Field(pattern=CURRENCY_PATTERN, description="ISO 4217 code of the deployment's currency"),
    ]
    items: NotRequired[Annotated[Any, _not_checked({"type": "integer", "minimum": 0})]]
    category: NotRequired[Annotated[str, Field(max_length=128)] | None]
    channel: NotRequired[Annotated[Any, _not_checked({"type": "string", "maxLength": 128})]]


class Consent(TypedDict):
    """Consents of the customer; absent or null means not known. Other fields are refused."""

    # A misspelt refusal must not be ignored.
    __pydantic_config__ = ConfigDict(strict=True, extra="forbid")  # type: ignore[misc]

    marketing: NotRequired[bool | None]
    profiling: NotRequired[bool | None]


class CustomerProfile(TypedDict):
    """All that is known of a customer. The last record of a key counts; a null value deletes it."""

    __pydantic_config__ = _STRICT  # type: ignore[misc]

    customer_id: CustomerId
    updated_at: Annotated[
        Instant, Field(description="What an erasure compares with its cutoff; decides no order")
    ]
    age: NotRequired[
        Annotated[float, Field(ge=0, le=130, description="Years; wins over `birth_year`")] | None
    ]
    birth_year: NotRequired[
        Annotated[
            int,
            Field(ge=1850, le=2200, description="Age is the UTC year of `updated_at` less this"),
        ]
        | None
    ]
    income: NotRequired[
        Annotated[float, Field(gt=0, le=1e12, allow_inf_nan=False, description="Per year")] | None
    ]
    location: NotRequired[Literal["urban", "suburban", "rural"] | None]
    consent: NotRequired[Consent | None]


class Erasure(TypedDict):
    """A request to forget a customer, to ignore them from now on, or to end that."""

    __pydantic_config__ = _STRICT  # type: ignore[misc]

    request_id: Identifier
    customer_id: CustomerId
    requested_at: Instant
    action: Literal["erase", "suppress", "restore"]


PURCHASE: TypeAdapter[Purchase] = TypeAdapter(Purchase)
CUSTOMER_PROFILE: TypeAdapter[CustomerProfile] = TypeAdapter(CustomerProfile)
ERASURE: TypeAdapter[Erasure] = TypeAdapter(Erasure)
CUSTOMER_ID: TypeAdapter[str] = TypeAdapter(CustomerId)
