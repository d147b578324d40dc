"""Redis itself (Debian's ``redis-server``) as a child process on a free loopback port."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path

from redis import Redis

from livesegments.local_servers import LOOPBACK, ServerError, free_ports
from tests.servers.process import ServerProcess, SingleServer, answers_ping


class RedisServer(SingleServer):
    """A Redis server that keeps its port and its persisted data over restarts.

    Parameters
    ----------
    directory
        Folder of its data and log; created when missing.
    options
        Redis settings by name, ``{"appendonly": "yes"}``; without any, nothing is persisted.
    """

    def __init__(self, directory: Path, options: Mapping[str, str] | None = None) -> None:
        program = shutil.which("redis-server")
        if program is None:
            raise ServerError("no redis-server: run scripts/install-servers")
        directory.mkdir(parents=True, exist_ok=True)
        [self.port] = free_ports(1)
        settings = {
            "bind": LOOPBACK,
            "port": str(self.port),
            "dir": str(directory),
            "save": "",
            "appendonly": "no",
            **(options or {}),
        }
        self.options = settings
        arguments = [part for name, value in settings.items() for part in (f"--{name}", value)]
        self._dump = directory / "dump.rdb"
        self._process = ServerProcess("Redis", [program, *arguments], directory / "redis.log")

    @property
    def url(self) -> str:
        """``redis://`` URL of database 0."""
        return f"redis://{LOOPBACK}:{self.port}/0"

    def _is_ready(self) -> bool:
        return answers_ping(self.port)

    def client(self) -> Redis:
        """Return a client of it."""
        return Redis.from_url(self.url, protocol=2)

    def flush(self) -> None:
        """Delete every key, every cached script and the snapshot written by `save`."""
        with Redis.from_url(self.url) as client:
            client.flushall()
            client.script_flush()
        self._dump.unlink(missing_ok=True)

    def save(self, copy: Path) -> None:
        """Write a snapshot to a file."""
        with Redis.from_url(self.url) as client:
            client.save()
        shutil.copy(self._dump, copy)

    def roll_back(self, copy: Path) -> None:
        """Crash, and restart from a file written by `save`."""
        self.kill()
        shutil.copy(copy, self._dump)
        self.start()
