"""The API under ``/api/v1``; `openapi` describes it."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from hashlib import blake2b
from http import HTTPStatus
from typing import Annotated, Any, Literal, TypeVar
from urllib.parse import quote, unquote_to_bytes, urlencode

from anyio import to_thread
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from livesegments.contracts.segments import encode
from livesegments.history.database import History
from livesegments.serve import audiences
from livesegments.serve.changes_stream import ChangesStream
from livesegments.serve.customers import CustomerReader
from livesegments.serve.limited_streams import EVENTS, HEADERS, LimitedStreams
from livesegments.serve.problems import ProblemError, unavailable

BASE = "/api/v1"
MOST_IDS = 1_000
MOST_BODY_BYTES = 1_048_576
MOST_ROWS = 10_000
MOST_STREAMS = 1_000
UNKNOWN = "this customer is unknown, erased or suppressed"
"""One answer for all three, so that a client cannot learn which."""
JSON, JSON_LINES = "application/json", "application/jsonl"


class Strict(BaseModel):
    """Input of a client; unknown fields are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class CustomerBatch(Strict):
    """Body of ``POST /customers:batch``."""

    customer_ids: Annotated[
        tuple[Annotated[str, Field(min_length=1, max_length=128)], ...],
        Field(min_length=1, max_length=MOST_IDS),
    ]


class Page(Strict):
    """Query of ``GET /segments/{id}/customers``."""

    consent: Annotated[
        Literal["granted", "refused", "unknown"] | None,
        Field(description="Only customers with this answer about marketing"),
    ] = None
    cursor: Annotated[str, Field(description="Of the Link header of the page before")] = ""
    limit: Annotated[int, Field(ge=1, le=MOST_ROWS, description="Most customers of a page")] = 1_000


Model = TypeVar("Model", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class Api:
    """Answers of the API.

    ``away`` returns why the history cannot be relied on now, None if it can.
    """

    customers: CustomerReader
    history: History
    stream: ChangesStream
    away: Callable[[], str | None]
    streams: LimitedStreams = field(default_factory=lambda: LimitedStreams(MOST_STREAMS))

    def routes(self) -> list[BaseRoute]:
        """Return the routes."""
        return [
            Route(f"{BASE}/customers/{{customer_id:path}}", self.customer),
            Route(f"{BASE}/customers:batch", self.batch, methods=["POST"]),
            Route(f"{BASE}/segments", self.segments),
            Route(f"{BASE}/segments/{{segment}}/customers", self.segment_customers),
            Route(f"{BASE}/changes", self.changes),
        ]

    async def customer(self, request: Request) -> Response:
        """Answer with one customer."""
        customer_id = _last_of_path(request)
        found = await self.customers.find([customer_id])
        if customer_id not in found:
            raise ProblemError(HTTPStatus.NOT_FOUND, UNKNOWN)
        return _tagged(request, encode(found[customer_id]))

    async def batch(self, request: Request) -> Response:
        """Answer with several customers, in the order of their ids."""
        body = bytearray()
        async for chunk in request.stream():
            body += chunk
            if len(body) > MOST_BODY_BYTES:
                raise ProblemError(
                    HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"send at most {MOST_BODY_BYTES} bytes"
                )
        wanted = _valid(lambda: CustomerBatch.model_validate_json(bytes(body))).customer_ids
        found = await self.customers.find(wanted)
        ids = list(dict.fromkeys(wanted))
        answer = {
            "customers": [found[each] for each in ids if each in found],
            "not_found": [each for each in ids if each not in found],
        }
        return Response(encode(answer), media_type=JSON)

    async def segments(self, request: Request) -> Response:
        """Answer with all segments."""
        self._check()
        found = await to_thread.run_sync(audiences.segments, self.history)
        return _tagged(request, encode({"segments": found}))

    async def segment_customers(self, request: Request) -> Response:
        """Answer with a page of a segment's customers, as JSON lines."""
        self._check()
        page = _valid(lambda: Page.model_validate(dict(request.query_params)))
        segment = request.path_params["segment"]
        lines, following = await to_thread.run_sync(
            audiences.customers_of, self.history, segment, page.consent, page.cursor, page.limit
        )
        headers = {}
        if following is not None:
            query = {"cursor": following, "limit": page.limit}
            query |= {"consent": page.consent} if page.consent else {}
            path = f"{BASE}/segments/{quote(segment, safe='')}/customers?{urlencode(query)}"
            headers["Link"] = f'<{path}>; rel="next"'
        return Response(b"".join(lines), headers=headers, media_type=JSON_LINES)

    async def changes(self, request: Request) -> Response:
        """Stream changes as they come."""
        self._check()
        last = request.headers.get("last-event-id") or request.query_params.get("last_event_id", "")
        if request.method == "HEAD":
            return Response(media_type=EVENTS, headers=HEADERS)
        return await self.streams.respond(partial(self.stream.open, last))

    def _check(self) -> None:
        away = self.away()
        if away is not None:
            raise unavailable(away)


def _last_of_path(request: Request) -> str:
    """Return the id after the last fixed part of the path, decoded strictly."""
    raw: bytes = request.scope.get("raw_path") or quote(request.scope["path"]).encode()
    try:
        return unquote_to_bytes(raw.removeprefix(f"{BASE}/customers/".encode())).decode()
    except UnicodeDecodeError:
        raise ProblemError(HTTPStatus.BAD_REQUEST, "the id is not UTF-8, percent-encoded") from None


def _tagged(request: Request, body: bytes) -> Response:
    """Return a body with its ``ETag``, or that the client has it already."""
    tag = f'"{blake2b(body, digest_size=12).hexdigest()}"'
    headers = {"ETag": tag, "Cache-Control": "private, no-cache"}
    known = request.headers.get("if-none-match", "")
    if known.strip() == "*" or tag in [
        each.strip().removeprefix("W/") for each in known.split(",")
    ]:
        return Response(status_code=HTTPStatus.NOT_MODIFIED, headers=headers)
    return Response(body, headers=headers, media_type=JSON)


def _valid(parse: Callable[[], Model]) -> Model:
    try:
        return parse()
    except ValidationError as error:
        first: Any = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "body"
        raise ProblemError(HTTPStatus.BAD_REQUEST, f"{where}: {first['msg']}") from None
