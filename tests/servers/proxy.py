"""A TCP proxy in front of a server, whose connections can be made to hang or to break."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from threading import Event, Thread
from typing import Self

from livesegments.local_servers import LOOPBACK

_CHUNK = 65_536


class Proxy:
    """Forwards a free loopback port to another, for the length of a ``with`` block.

    Attributes
    ----------
    port
        Port it listens on.
    upstream
        Port it forwards to; may be set after the proxy has started.
    """

    def __init__(self, upstream: int = 0) -> None:
        self.port, self.upstream = 0, upstream
        self._loop = asyncio.new_event_loop()
        self._flowing = asyncio.Event()
        self._flowing.set()
        self._cut = False
        self._writers: set[asyncio.StreamWriter] = set()
        self._ready = Event()
        self._thread = Thread(target=self._run, daemon=True)

    def stall(self) -> None:
        """Accept connections and data, and forward nothing until `flow`."""
        self._loop.call_soon_threadsafe(self._flowing.clear)

    def cut(self) -> None:
        """Break all connections, and every new one until `flow`."""

        def close() -> None:
            self._cut = True
            for writer in self._writers:
                writer.close()

        self._loop.call_soon_threadsafe(close)

    def flow(self) -> None:
        """Forward again, including the data held back."""

        def go_on() -> None:
            self._cut = False
            self._flowing.set()

        self._loop.call_soon_threadsafe(go_on)

    def __enter__(self) -> Self:
        self._thread.start()
        self._ready.wait(5)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        server = self._loop.run_until_complete(asyncio.start_server(self._serve, LOOPBACK, 0))
        self.port = server.sockets[0].getsockname()[1]
        self._ready.set()
        self._loop.run_forever()
        server.close()
        tasks = asyncio.all_tasks(self._loop)
        for task in tasks:
            task.cancel()
        self._loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
        self._loop.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        try:
            if self._cut:
                return
            await self._flowing.wait()
            there, back = await asyncio.open_connection(LOOPBACK, self.upstream)
            self._writers.add(back)
            try:
                await asyncio.gather(self._pump(reader, back), self._pump(there, writer))
            finally:
                self._writers.discard(back)
                back.close()
        except OSError:
            pass  # the server is down, and so is this connection
        finally:
            self._writers.discard(writer)
            writer.close()

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := await reader.read(_CHUNK):
                await self._flowing.wait()
                writer.write(data)
                await writer.drain()
        writer.close()
