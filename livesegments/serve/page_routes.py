"""Routes of the pages: for people, in a browser."""

import asyncio
import csv
import io
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from http import HTTPStatus
from typing import Any
from urllib.parse import parse_qs

from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response, StreamingResponse
from starlette.routing import Route

from livesegments.analysis.pages.site import ASSETS, PAGES, TICK_SECONDS, Page, Site, asset
from livesegments.history.database import History
from livesegments.serve.auth import Token
from livesegments.serve.guard import FAILURES_AT_ONCE, FAILURES_PER_SECOND
from livesegments.serve.limited_streams import LimitedStreams
from livesegments.serve.problems import ProblemError, unavailable
from livesegments.serve.rate_limits import RateLimit

GAP_SECONDS = 0.25
"""Least time between two events of a stream."""
MOST_STREAMS = 500
_MOST_FORM_BYTES = 10_000
_YEAR_SECONDS = 31_536_000
_CHUNK_ROWS = 5_000


class PageRoutes:
    """Answers requests for pages; the history's commits wake the streams of events."""

    def __init__(self, site: Site, history: History, token: Token) -> None:
        self._site, self._history, self._token = site, history, token
        self._streams = LimitedStreams(MOST_STREAMS)
        self._failures = RateLimit(FAILURES_PER_SECOND, FAILURES_AT_ONCE)

    def routes(self) -> list[Route]:
        """Return the routes."""
        return [
            *(Route(path, self._page) for path in PAGES),
            Route("/model/preview", self._preview),
            Route("/audiences/{name}.csv", self._list),
            Route("/live", self._live),
            Route("/static/{name}", self._asset),
            Route("/login", self._login_form),
            Route("/login", self._login, methods=["POST"]),
            Route("/logout", self._logout, methods=["POST"]),
        ]

    # Functions that are not coroutines run in a thread each.

    def _page(self, request: Request) -> Response:
        return _html(self._site.page(request.url.path, request.query_params))

    def _preview(self, _: Request) -> Response:
        return _html(self._site.preview())

    def _list(self, request: Request) -> Response:
        name = request.path_params["name"]
        if name not in self._site.list_names:
            raise ProblemError(HTTPStatus.NOT_FOUND, "there is no such list: /audiences has them")
        found = self._site.list_rows(name)
        if found is None:
            raise unavailable("the first survey of the customers is under way")
        headers = {"Content-Disposition": f'attachment; filename="{name}.csv"'}
        return StreamingResponse(_lines(found), media_type="text/csv", headers=headers)

    async def _live(self, request: Request) -> Response:
        async def events() -> AsyncIterator[str]:
            return self._events(request)

        return await self._streams.respond(events)

    async def _events(self, request: Request) -> AsyncIterator[str]:
        """Yield the version of the pages, now and whenever there is a newer one."""
        sent = ""
        while not await request.is_disconnected():
            # Read first: a commit while the event is sent must not be missed.
            commit, version = self._history.version, self._site.version
            yield f"data: {version}\n\n" if version != sent else ": nothing new\n\n"
            sent = version
            await asyncio.sleep(GAP_SECONDS)
            await self._history.newer(commit, TICK_SECONDS)

    async def _asset(self, request: Request) -> Response:
        name = request.path_params["name"]
        if name not in ASSETS:
            raise ProblemError(HTTPStatus.NOT_FOUND, "there is no such file")
        # Pages name files with their digest.
        headers = {"Cache-Control": f"public, max-age={_YEAR_SECONDS}, immutable"}
        return Response(asset(name), media_type=ASSETS[name], headers=headers)

    def _login_form(self, request: Request) -> Response:
        return _html(self._site.login_page(_own_path(request.query_params.get("next", "/"))))

    async def _login(self, request: Request) -> Response:
        form = await _form(request)
        target = _own_path(form.get("next", "/"))
        client, now_s = request.client.host if request.client else "", time.monotonic()
        if self._failures.left(client, now_s) < 1:
            return _html(self._site.login_page(target, "Too many attempts: wait some seconds."))
        if not self._token.equals(form.get("token", "")):
            self._failures.takes(client, now_s)
            return _html(self._site.login_page(target, "This is not the token."))
        cookie = self._token.session_cookie(secure=request.url.scheme == "https")
        headers = {"Set-Cookie": cookie}
        return RedirectResponse(target, HTTPStatus.SEE_OTHER, headers=headers)

    async def _logout(self, _: Request) -> Response:
        headers = {"Set-Cookie": self._token.no_cookie()}
        return RedirectResponse("/login", HTTPStatus.SEE_OTHER, headers=headers)


def _html(page: Page) -> Response:
    return HTMLResponse(page.html, page.status)


def _own_path(target: str) -> str:
    """Return a path of these pages: a link must not lead to another site after the login."""
    path = target.partition("?")[0]
    return target if path in PAGES or path == "/model/preview" else "/"


async def _form(request: Request) -> dict[str, str]:
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > _MOST_FORM_BYTES:
            raise ProblemError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "this form is too large")
    return {name: values[0] for name, values in parse_qs(body.decode(errors="replace")).items()}


def _lines(rows: Iterator[Sequence[Any]]) -> Iterator[str]:
    """Yield rows as CSV, some thousands at a time."""
    text = io.StringIO()
    out = csv.writer(text)
    for number, row in enumerate(rows, 1):
        out.writerow(row)
        if number % _CHUNK_ROWS == 0:
            yield text.getvalue()
            text.seek(0)
            text.truncate()
    yield text.getvalue()
