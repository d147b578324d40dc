"""Description of the API: an OpenAPI 3.1 document, and the same as a page."""

from collections.abc import Mapping
from functools import cache
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field
from pydantic.json_schema import models_json_schema
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from livesegments import __version__
from livesegments.contracts.segments import (
    Centroid,
    CustomerId,
    PublishedConsent,
    SegmentChange,
    SegmentRef,
    UtcInstant,
    encode,
)
from livesegments.rendering.templates import render
from livesegments.serve.api import BASE, JSON, JSON_LINES, CustomerBatch, Page
from livesegments.serve.limited_streams import EVENTS
from livesegments.serve.problems import MEDIA_TYPE

_REF = "#/components/schemas/{model}"


class _Out(BaseModel):
    model_config = ConfigDict(frozen=True)


class FeatureDistance(_Out):
    """Distance of a feature of the customer from the mean of all, in standard deviations."""

    feature: str
    direction: Annotated[str, Field(description="above or below")]
    z_score: float


class Consent(_Out):
    """Consent as the customer gave it; null: not known."""

    marketing: bool | None
    profiling: bool | None


class ModelGeneration(_Out):
    """The generation of the model that confidence and explanation are of."""

    generation: int


class Customer(_Out):
    """A customer as of the last commit."""

    customer_id: CustomerId
    segment: Annotated[SegmentRef | None, Field(description="As published; null: in none")]
    since: Annotated[UtcInstant | None, Field(description="When the customer came into it")]
    version: Annotated[int, Field(description="Of the last change; rises with each")]
    confidence: Annotated[
        float | None, Field(description="0 to 1: how much nearer its centroid is than the next")
    ]
    explanation: Annotated[
        tuple[FeatureDistance, ...], Field(description="Known features, the farthest first")
    ]
    consent: Consent
    model: ModelGeneration | None


class Customers(_Out):
    """Customers in the order of the ids asked for."""

    customers: tuple[Customer, ...]
    not_found: Annotated[
        tuple[str, ...], Field(description="Unknown, erased and suppressed, which look alike")
    ]


class ConsentCounts(_Out):
    """Customers by their answer about marketing."""

    granted: int
    refused: int
    unknown: int


class Segment(_Out):
    """A segment now."""

    id: str
    name: str
    description: str
    customers: int
    share: float | None
    consent: ConsentCounts
    centroid: Annotated[Centroid, Field(description="Means of its customers, in natural units")]
    persona_distance: float | None
    named_by: tuple[str, ...]
    generation: int


class Segments(_Out):
    """All segments, by id."""

    segments: tuple[Segment, ...]


class SegmentCustomer(_Out):
    """A line of a segment's customers."""

    customer_id: CustomerId
    since: UtcInstant
    version: int
    confidence: float | None
    consent: PublishedConsent


class ProblemDetails(_Out):
    """An error (RFC 9457)."""

    type: str
    title: str
    status: int
    detail: Annotated[str, Field(description="What is wrong, and what to do")]


_MODELS: tuple[type[BaseModel], ...] = (
    *(Customer, Customers, CustomerBatch, Segments, SegmentCustomer, SegmentChange),
    ProblemDetails,
)


def _answer(description: str, media_type: str, model: str) -> dict[str, Any]:
    schema = {"$ref": _REF.format(model=model)}
    return {"description": description, "content": {media_type: {"schema": schema}}}


def _errors(**more: str) -> dict[str, Any]:
    known = {
        "401": "The token is missing or wrong",
        "429": "Too many requests; Retry-After says when to come again",
        "503": "Kafka or Redis is away, or the history is being read; the detail says which",
    }
    said = known | {status.removeprefix("s"): text for status, text in more.items()}
    return {
        status: _answer(text, MEDIA_TYPE, "ProblemDetails") for status, text in sorted(said.items())
    }


def _query(model: type[BaseModel]) -> list[dict[str, Any]]:
    properties: Mapping[str, Any] = model.model_json_schema()["properties"]
    return [
        {
            "name": name,
            "in": "query",
            "description": schema["description"],
            "schema": {k: v for k, v in schema.items() if k not in ("title", "description")},
        }
        for name, schema in properties.items()
    ]


def _in(where: str, name: str, description: str, *, required: bool = False) -> dict[str, Any]:
    return {
        "name": name,
        "in": where,
        "required": required,
        "description": description,
        "schema": {"type": "string"},
    }


_ETAG = _in("header", "If-None-Match", "ETag of the answer that you have: 304 if it still holds")


def _paths() -> dict[str, Any]:
    unchanged = {"304": {"description": "The answer with this ETag still holds"}}
    return {
        f"{BASE}/customers/{{customer_id}}": {
            "get": {
                "operationId": "getCustomer",
                "summary": "One customer",
                "description": "Their segment and the reasons, from the store as of the last"
                " commit.",
                "parameters": [
                    _in("path", "customer_id", "Percent-encoded, slashes too", required=True),
                    _ETAG,
                ],
                "responses": {
                    "200": _answer("The customer", JSON, "Customer"),
                    **unchanged,
                    **_errors(
                        s400="The id is not UTF-8, percent-encoded",
                        s404="Unknown, erased or suppressed, which look alike",
                    ),
                },
            }
        },
        f"{BASE}/customers:batch": {
            "post": {
                "operationId": "getCustomers",
                "summary": "Up to 1,000 customers",
                "description": "One round trip to each server of the store.",
                "requestBody": {
                    "required": True,
                    "content": {JSON: {"schema": {"$ref": _REF.format(model="CustomerBatch")}}},
                },
                "responses": {
                    "200": _answer("The known customers", JSON, "Customers"),
                    **_errors(s400="The body is invalid", s413="The body is too large"),
                },
            }
        },
        f"{BASE}/segments": {
            "get": {
                "operationId": "getSegments",
                "summary": "All segments",
                "description": "Definition, number of customers, and their consent to marketing.",
                "parameters": [_ETAG],
                "responses": {
                    "200": _answer("The segments", JSON, "Segments"),
                    **unchanged,
                    **_errors(),
                },
            }
        },
        f"{BASE}/segments/{{segment}}/customers": {
            "get": {
                "operationId": "getSegmentCustomers",
                "summary": "Customers of a segment, page by page",
                "description": "A JSON object a line, by id. The next page is in the Link header"
                ' (rel="next"); without one, this was the last.',
                "parameters": [
                    _in("path", "segment", "Id of the segment", required=True),
                    *_query(Page),
                ],
                "responses": {
                    "200": _answer("A page of customers", JSON_LINES, "SegmentCustomer"),
                    **_errors(s400="A parameter is invalid", s404="There is no such segment"),
                },
            }
        },
        f"{BASE}/changes": {
            "get": {
                "operationId": "followChanges",
                "summary": "Changes as they come",
                "description": "Server-sent events: `change` with a SegmentChange, and `forgotten`"
                " with the `customer_id` of a customer whose data is deleted. After a break, send"
                " the last id, which a stream begins with too; an event may come twice then, with"
                " the same version. A comment comes every 15 seconds without changes.",
                "parameters": [
                    _in("header", "Last-Event-ID", "Id of the last event that you have"),
                    _in("query", "last_event_id", "The same, for clients without headers"),
                ],
                "responses": {
                    "200": _answer("The stream", EVENTS, "SegmentChange"),
                    **_errors(
                        s400="Last-Event-ID is invalid",
                        s410="Changes after that event are deleted: read all segments again",
                    ),
                },
            }
        },
    }


@cache
def document() -> dict[str, Any]:
    """Return the OpenAPI document."""
    _, defined = models_json_schema(
        [(model, "serialization") for model in _MODELS], ref_template=_REF
    )
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Livesegments",
            "version": __version__,
            "description": "Which segment is a customer in, since when, and why; who is in a"
            " segment; and every change as it comes. Reads only.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "security": [{"token": []}],
        "paths": _paths(),
        "components": {
            "securitySchemes": {
                "token": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "LIVESEGMENTS_SERVE_TOKEN; not needed where none is set",
                }
            },
            "schemas": defined["$defs"],
        },
    }


async def _document(_: Request) -> Response:
    return Response(encode(document()), media_type="application/json")


async def _page(_: Request) -> Response:
    return Response(render("serve/api.html.j2", document=document()), media_type="text/html")


def documentation() -> list[BaseRoute]:
    """Return the routes of the description."""
    return [Route(f"{BASE}/openapi.json", _document), Route(BASE, _page)]
