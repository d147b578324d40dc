"""Limits of bytes and time before a client is answered, over a socket."""

import asyncio
import logging
from collections.abc import Awaitable, Callable

import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from livesegments.serve import http_limits, problems
from livesegments.serve.http_limits import MOST_HEAD_BYTES, BoundedProtocol

GET = b"GET / HTTP/1.1\r\nHost: localhost\r\n"
POST = b"POST / HTTP/1.1\r\nHost: localhost\r\n"
UNREAD = b"POST /unread HTTP/1.1\r\nHost: localhost\r\n"
WAIT_SECONDS = 10.0

Client = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[bytes]]


async def echo(request: Request) -> Response:
    """Answer with the size of the body."""
    return PlainTextResponse(str(len(await request.body())))


def talk(client: Client) -> bytes:
    """Let a client talk to a server; return its result."""
    app = Starlette(
        routes=[
            Route("/", echo, methods=["GET", "POST"]),
            Route("/unread", lambda _: PlainTextResponse("0"), methods=["POST"]),
        ],
        exception_handlers={ClientDisconnect: problems.on_disconnect},
    )

    async def go() -> bytes:
        config = uvicorn.Config(app, http=BoundedProtocol, log_config=None, lifespan="off")
        config.load()
        server = uvicorn.Server(config)
        listening = await asyncio.get_running_loop().create_server(
            lambda: BoundedProtocol(config, server.server_state, {}), "127.0.0.1", 0
        )
        async with listening:
            reader, writer = await asyncio.open_connection(*listening.sockets[0].getsockname())
            found = await asyncio.wait_for(client(reader, writer), WAIT_SECONDS)
            writer.close()
            for task in list(server.server_state.tasks):
                await asyncio.wait_for(task, WAIT_SECONDS)
            return found

    return asyncio.run(go())


@pytest.mark.parametrize(
    ("begin", "part"),
    [
        (GET + b"X: ", b"a" * 10_000),
        (GET, b"X: a\r\n" * 2_000),
        (POST + b"Transfer-Encoding: chunked\r\n\r\n5;", b"a" * 10_000),
        (POST + b"Transfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n", b"X: a\r\n" * 2_000),
    ],
    ids=["one header", "many headers", "chunk extension", "trailers"],
)
def test_a_request_without_end_is_refused(begin: bytes, part: bytes) -> None:
    async def client(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
        writer.write(begin)
        answer = asyncio.ensure_future(reader.read())
        for _ in range(500):
            if answer.done():
                break
            writer.write(part)
            await asyncio.sleep(0.001)
        return await answer

    assert talk(client).startswith(b"HTTP/1.1 400")


def test_a_body_may_be_larger_than_a_head_and_the_connection_stays() -> None:
    async def client(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
        size = 3 * MOST_HEAD_BYTES
        for _ in range(2):
            writer.write(POST + b"Content-Length: %d\r\n\r\n" % size + b"a" * size)
            await reader.readuntil(str(size).encode())
        return b"answered twice"

    assert talk(client) == b"answered twice"


@pytest.mark.parametrize(
    "sent",
    [
        [b""],
        [GET],
        [POST + b"Content-Length: 9\r\n\r\nabc"],
        [GET + b"\r\n", b"\r\n"],
        [UNREAD + b"Content-Length: 3\r\n\r\n", b"abc"],
    ],
    ids=["nothing", "half a head", "half a body", "a blank line after", "a body after an answer"],
)
def test_a_client_that_does_not_go_on_is_disconnected(
    sent: list[bytes], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(http_limits, "REQUEST_SECONDS", 0.1)

    async def client(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
        writer.write(sent[0])
        for more in sent[1:]:
            await reader.readuntil(b"\r\n\r\n0")
            writer.write(more)
        await reader.read()
        return b"disconnected"

    with caplog.at_level(logging.ERROR):
        assert talk(client) == b"disconnected"
    assert not caplog.records
