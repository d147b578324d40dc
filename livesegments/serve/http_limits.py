"""Limits of a client that has no token yet: bytes and time of a request."""

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

MOST_HEAD_BYTES = 65_536
"""Bytes of a request beside its body."""
REQUEST_SECONDS = 30.0
"""Time from a connection, or from a request's first byte, to its last."""


class BoundedProtocol(HttpToolsProtocol):
    """uvicorn's protocol with limits: by itself it keeps headers without end, and waits forever."""

    _beside_body = 0
    _timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        """Wait for a request."""
        super().connection_made(transport)
        self._wait()

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait no longer."""
        self._wait_no_longer()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Read a part of a request; refuse one that is too large."""
        self._wait()
        self._beside_body += len(data)
        super().data_received(data)
        if self._beside_body > MOST_HEAD_BYTES and not self.transport.is_closing():
            self.send_400_response(f"The head of a request has at most {MOST_HEAD_BYTES} bytes.")

    def on_message_begin(self) -> None:
        """Begin a request, which may come together with the one before."""
        self._wait()
        super().on_message_begin()

    def on_body(self, body: bytes) -> None:
        """Take a part of the body, which the application bounds."""
        self._beside_body -= len(body)
        super().on_body(body)

    def on_message_complete(self) -> None:
        """End a request."""
        self._beside_body = 0
        self._wait_no_longer()
        super().on_message_complete()
        cycle: RequestResponseCycle | None = self.cycle
        if cycle is not None and cycle.response_complete:
            # Answered before its end, which has stopped uvicorn's own wait for the next one.
            self._wait()

    def _wait(self) -> None:
        if self._timer is None:
            self._timer = self.loop.call_later(REQUEST_SECONDS, self._too_slow)

    def _wait_no_longer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _too_slow(self) -> None:
        self._timer = None
        cycle: RequestResponseCycle | None = self.cycle
        if self.flow.read_paused:  # the server is the slow one
            self._wait()
        elif cycle is None or cycle.more_body or cycle.response_complete:
            self.transport.abort()
