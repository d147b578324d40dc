"""Middleware in front of every page and every answer: limits, authorization, headers."""

import time
from collections.abc import Callable, MutableMapping
from http import HTTPStatus
from typing import Any
from urllib.parse import quote

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from livesegments.serve.auth import Token
from livesegments.serve.problems import ProblemError, response
from livesegments.serve.rate_limits import RateLimit

API = "/api/"
PUBLIC = ("/login", "/static/")
"""Beginnings of the paths that need no token."""
LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
FAILURES_PER_SECOND, FAILURES_AT_ONCE = 0.2, 10
"""Wrong tokens that a client may try."""

_HEADERS = {
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; style-src-attr 'unsafe-inline';"
        " img-src 'self' data:; connect-src 'self'; form-action 'self'; base-uri 'none';"
        " frame-ancestors 'none'"
    ),
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
}


class Guard:
    """Admits requests with the token, at a rate that a client may have.

    Without a token, requests must name this machine as their host: a site elsewhere whose name was
    made to point here cannot read anything.

    Parameters
    ----------
    requests_per_second
        Rate of a client, by its address; twice that at once. 0: no limit.
    answered
        Called with scope, status and seconds of each answer, once it has begun.
    """

    def __init__(
        self,
        app: ASGIApp,
        token: Token,
        requests_per_second: float,
        answered: Callable[[Scope, int, float], None] = lambda *_: None,
    ) -> None:
        self._app, self._token, self._answered = app, token, answered
        rate = requests_per_second
        self._requests = RateLimit(rate, max(2 * rate, 1)) if rate else None
        self._failures = RateLimit(FAILURES_PER_SECOND, FAILURES_AT_ONCE)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began = time.perf_counter()

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(raw=message.setdefault("headers", []))
                for name, value in _HEADERS.items():
                    headers.setdefault(name, value)
                headers.setdefault("cache-control", "no-store")
                self._answered(scope, message["status"], time.perf_counter() - began)
            await send(message)

        refused = self._refuse(scope)
        await (refused or self._app)(scope, receive, with_headers)

    def _refuse(self, scope: MutableMapping[str, Any]) -> Response | None:
        headers, now_s = Headers(scope=scope), time.monotonic()
        client = scope["client"][0] if scope.get("client") else ""
        if self._requests and not self._requests.takes(client, now_s):
            return _too_many("too many requests from this address", 1)
        path: str = scope["path"]
        if not self._token.is_set:
            return None if _host(headers.get("host", "")) in LOOPBACK else _wrong_host()
        if path.startswith(PUBLIC):
            return None
        given = headers.get("authorization", ""), headers.get("cookie", "")
        if self._token.is_authorized(*given):
            return None
        if given[0] and not self._failures.takes(client, now_s):
            return _too_many("too many wrong tokens from this address", 5)
        if not path.startswith(API):
            wanted = path + (f"?{scope['query_string'].decode()}" if scope["query_string"] else "")
            return RedirectResponse(f"/login?next={quote(wanted, safe='')}", HTTPStatus.SEE_OTHER)
        return response(
            ProblemError(
                HTTPStatus.UNAUTHORIZED,
                "send the token of this server: Authorization: Bearer TOKEN",
                headers={"WWW-Authenticate": 'Bearer realm="livesegments"'},
            )
        )


def _host(header: str) -> str:
    """Return the host of a ``Host`` header, without its port and brackets."""
    if header.startswith("["):
        return header[1:].partition("]")[0]
    return header.partition(":")[0].lower()


def _wrong_host() -> Response:
    return response(
        ProblemError(
            HTTPStatus.MISDIRECTED_REQUEST,
            "this server answers as localhost only: set LIVESEGMENTS_SERVE_TOKEN to call it by"
            " another name",
        )
    )


def _too_many(what: str, seconds: int) -> Response:
    return response(
        ProblemError(HTTPStatus.TOO_MANY_REQUESTS, what, headers={"Retry-After": str(seconds)})
    )
