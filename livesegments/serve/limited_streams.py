"""Streams that are open at the same time, so many at most."""

from collections.abc import AsyncIterable

from starlette.responses import Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from livesegments.serve.problems import unavailable

EVENTS = "text/event-stream"
HEADERS = {"X-Accel-Buffering": "no"}


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

    def respond(self, frames: AsyncIterable[str | bytes]) -> Response:
        """Return the response of a stream; raises `ProblemError` if too many are open."""
        if self.open >= self._most:
            raise unavailable(f"{self._most} streams are open already")
        # Before its first byte: many requests may come together.
        self.open += 1
        return _Stream(frames, self)


class _Stream(StreamingResponse):
    def __init__(self, frames: AsyncIterable[str | bytes], streams: LimitedStreams) -> None:
        super().__init__(frames, media_type=EVENTS, headers=HEADERS)
        self._streams = streams

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._streams.open -= 1
