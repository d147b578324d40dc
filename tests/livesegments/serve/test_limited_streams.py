"""Streams count from their request to their end."""

import asyncio
from collections.abc import AsyncIterator
from http import HTTPStatus

import pytest
from starlette.types import Message

from livesegments.serve.limited_streams import LimitedStreams
from livesegments.serve.problems import ProblemError


async def opened() -> AsyncIterator[bytes]:
    async def frames() -> AsyncIterator[bytes]:
        yield b"data: 1\n\n"

    return frames()


async def refused() -> AsyncIterator[bytes]:
    raise ProblemError(HTTPStatus.GONE, "too old")


def test_requests_that_come_together_are_counted_before_they_are_answered() -> None:
    async def receive() -> Message:
        await asyncio.sleep(10)
        return {"type": "http.disconnect"}

    async def send(_: Message) -> None:
        pass

    async def go() -> None:
        streams = LimitedStreams(2)
        with pytest.raises(ProblemError, match="too old"):
            await streams.respond(refused)
        responses = [await streams.respond(opened) for _ in range(2)]
        with pytest.raises(ProblemError, match="2 streams are open already"):
            await streams.respond(opened)
        for each in responses:
            await each({"type": "http"}, receive, send)
        assert streams.open == 0

    asyncio.run(go())
