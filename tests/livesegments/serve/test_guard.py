"""Every answer passes the guard: token, host, limits, headers."""

import asyncio
from dataclasses import dataclass
from http import HTTPStatus

import pytest
from starlette.applications import Starlette
from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import Message

from livesegments.serve.auth import Token
from livesegments.serve.guard import FAILURES_AT_ONCE, Guard
from livesegments.serve.problems import on_error
from tests.livesegments.serve.asgi import Answer, call

SECRET = "correct-horse-battery-staple"
BEARER = {"Authorization": f"Bearer {SECRET}"}


async def answer(_: Request) -> Response:
    return PlainTextResponse("customers")


@dataclass
class Client:
    guard: Guard

    def get(self, path: str, headers: dict[str, str] | None = None) -> Answer:
        return call(self.guard, path, headers)


def client(token: str, *, rate: float = 0.0) -> Client:
    app = Starlette(routes=[Route("/{path:path}", answer)])
    return Client(Guard(app, Token(token), rate))


def test_the_api_needs_the_token_and_pages_ask_for_it() -> None:
    asked = client(SECRET)
    assert asked.get("/api/v1/segments", headers=BEARER).body == b"customers"
    refused = asked.get("/api/v1/segments")
    assert refused.status == HTTPStatus.UNAUTHORIZED
    assert refused.headers["content-type"] == "application/problem+json"
    assert refused.headers["www-authenticate"].startswith("Bearer")
    page = asked.get("/customers?id=a%2Fb")
    assert page.status == HTTPStatus.SEE_OTHER
    assert page.headers["location"] == "/login?next=%2Fcustomers%3Fid%3Da%252Fb"
    assert asked.get("/login").body == b"customers"
    assert asked.get("/static/page.css").body == b"customers"


def test_wrong_tokens_are_limited_and_the_right_one_is_not() -> None:
    asked = client(SECRET)
    wrong = {"Authorization": "Bearer wrong"}
    found = [asked.get("/api/v1/segments", headers=wrong).status for _ in range(2_000)]
    assert found[:FAILURES_AT_ONCE] == [HTTPStatus.UNAUTHORIZED] * FAILURES_AT_ONCE
    assert found.count(HTTPStatus.TOO_MANY_REQUESTS) > 1_900
    assert asked.get("/api/v1/segments", headers=BEARER).status == HTTPStatus.OK


def test_an_address_has_a_rate() -> None:
    asked = client("", rate=5.0)
    found = [asked.get("/").status for _ in range(40)]
    assert found[:10] == [HTTPStatus.OK] * 10
    assert HTTPStatus.TOO_MANY_REQUESTS in found


def test_an_unexpected_error_is_counted_and_protected_too() -> None:
    async def fails(_: Request) -> Response:
        raise RuntimeError("of a library")

    app = Starlette(routes=[Route("/", fails)], exception_handlers={Exception: on_error})
    counted: list[int] = []
    guard = Guard(app, Token(""), 0.0, lambda _, status, __: counted.append(status))
    found: list[Message] = []
    with pytest.raises(RuntimeError):  # which the server logs
        call(guard, "/", sent=found)
    assert counted == [HTTPStatus.INTERNAL_SERVER_ERROR]
    assert Headers(raw=found[0]["headers"])["cache-control"] == "no-store"


@pytest.mark.parametrize("host", ["localhost", "localhost:8080", "127.0.0.1:1", "[::1]:8080"])
def test_without_a_token_it_answers_this_machine(host: str) -> None:
    assert client("").get("/", headers={"Host": host}).status == HTTPStatus.OK


@pytest.mark.parametrize("host", ["evil.example", "localhost.evil.example:8080", "", "[::2]"])
def test_without_a_token_no_other_name_reaches_it(host: str) -> None:
    found = client("").get("/", headers={"Host": host})
    assert found.status == HTTPStatus.MISDIRECTED_REQUEST


def test_every_answer_has_the_headers_of_security() -> None:
    for path, headers in (("/", BEARER), ("/api/v1/segments", {}), ("/", {})):
        found = client(SECRET).get(path, headers=headers).headers
        assert "default-src 'none'" in found["content-security-policy"]
        assert "unsafe-inline" not in found["content-security-policy"].split("style-src-attr")[0]
        assert found["x-content-type-options"] == "nosniff"
        assert found["cache-control"] == "no-store"
        assert "access-control-allow-origin" not in found


def test_a_request_from_another_site_is_told_nothing_about_cors() -> None:
    headers = {"Origin": "https://evil.example", "Access-Control-Request-Method": "GET"}
    found = call(client("").guard, "/api/v1/segments", headers, method="OPTIONS")
    assert not [name for name in found.headers if name.startswith("access-control")]


def test_what_is_no_request_passes() -> None:
    passed: list[str] = []

    async def app(scope: dict[str, str], *_: object) -> None:
        passed.append(scope["type"])

    guard = Guard(app, Token(SECRET), 0.0)  # type: ignore[arg-type]
    asyncio.run(guard({"type": "lifespan"}, None, None))  # type: ignore[arg-type]
    assert passed == ["lifespan"]
