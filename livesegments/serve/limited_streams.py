"""Limit of streams that are open at the same time."""

from collections.abc import AsyncIterable, Awaitable, Callable
from typing import TypeAlias

from starlette.responses import Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from livesegments.serve.problems import unavailable

EVENTS = "text/event-stream"
HEADERS = {"X-Accel-Buffering": "no"}
Frames: TypeAlias = AsyncIterable[str | bytes]


class LimitedStreams:
    """Responses of server-sent events, counted until each has ended.

    Attributes
    ----------
    open
        Open streams.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self.open = 0

    async def respond(self, open_frames: Callable[[], Awaitable[Frames]]) -> Response:
        """Open a stream and return its response; raises `ProblemError` if too many are open."""
        if self.open >= self._most:
            raise unavailable(f"{self._most} streams are open already")
        # Before it is open: many requests may come together.
        self.open += 1
        try:
            return _Stream(await open_frames(), self)
        except BaseException:
            self.open -= 1
            raise


class _Stream(StreamingResponse):
    def __init__(self, frames: Frames, streams: LimitedStreams) -> None:
        super().__init__(frames, media_type=EVENTS, headers=HEADERS)
        self._streams = streams

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._streams.open -= 1
