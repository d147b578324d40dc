"""ProblemError details for HTTP errors (RFC 9457)."""

from collections.abc import Mapping
from http import HTTPStatus

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from livesegments.contracts.segments import encode

MEDIA_TYPE = "application/problem+json"
RETRY_SECONDS = 2


class ProblemError(Exception):
    """An error with a status for the client; its detail contains no data of a customer."""

    def __init__(
        self, status: HTTPStatus, detail: str, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(detail)
        self.status, self.detail, self.headers = status, detail, headers


def unavailable(what: str) -> ProblemError:
    """Return the problem of a server or a state that is away for now."""
    return ProblemError(
        HTTPStatus.SERVICE_UNAVAILABLE, what, headers={"Retry-After": str(RETRY_SECONDS)}
    )


def response(problem: ProblemError) -> Response:
    """Return the response of a problem."""
    body = {
        "type": "about:blank",
        "title": problem.status.phrase,
        "status": int(problem.status),
        "detail": problem.detail,
    }
    return Response(encode(body), problem.status, headers=problem.headers, media_type=MEDIA_TYPE)


async def on_problem(_: Request, error: Exception) -> Response:
    """Answer a `ProblemError`."""
    assert isinstance(error, ProblemError)
    return response(error)


async def on_disconnect(_: Request, __: Exception) -> Response:
    """End a request whose client has left, which is no error of the server."""
    return Response(status_code=HTTPStatus.BAD_REQUEST)


async def on_http_error(request: Request, error: Exception) -> Response:
    """Answer a path or a method that does not exist."""
    assert isinstance(error, HTTPException)
    status = HTTPStatus(error.status_code)
    details = {
        HTTPStatus.NOT_FOUND: f"there is no {request.url.path}: /api/v1/openapi.json lists all",
        HTTPStatus.METHOD_NOT_ALLOWED: f"this path does not take {request.method}",
    }
    detail = details.get(status, error.detail)
    return response(ProblemError(status, detail, headers=error.headers))


async def on_error(_: Request, error: Exception) -> Response:
    """Answer an unexpected error with its type only."""
    return response(
        ProblemError(HTTPStatus.INTERNAL_SERVER_ERROR, f"this failed: {type(error).__name__}")
    )
