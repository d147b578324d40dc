"""A Redis master with two replicas and three sentinels, on free loopback ports."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

from redis import Redis
from redis.exceptions import ResponseError

from livesegments.config.clients import redis_client
from livesegments.config.settings import load
from livesegments.local_servers import LOOPBACK, ServerError, accepts_connections, free_ports
from tests.servers.certificates import Authority
from tests.servers.process import Server, ServerProcess, wait_until
from tests.servers.redis_server import RedisServer

SERVERS, SENTINELS, QUORUM = 3, 3, 2
SERVICE = "mymaster"
PATIENCE_SECONDS = 30.0


class RedisSentinels(Server):
    """Three servers, one of them the master, and the sentinels that watch it.

    Parameters
    ----------
    directory
        Folder of their data and logs.
    down_after_ms
        Silence after which a server counts as down.
    password
        Password of the servers; empty for none.
    sentinel_password
        Password of the sentinels; empty for none.
    authority
        With one, servers and sentinels talk TLS among themselves and on the ports of `secure_url`,
        and clients need a certificate.
    """

    def __init__(
        self,
        directory: Path,
        down_after_ms: int = 1_000,
        *,
        password: str = "",
        sentinel_password: str = "",
        authority: Authority | None = None,
    ) -> None:
        self.password, self._sentinel_password = password, sentinel_password
        shared = {
            "repl-diskless-sync-delay": "0",
            **({"requirepass": password, "masterauth": password} if password else {}),
        }
        tls = _tls_options(authority) if authority else {}
        tls_ports = free_ports(SERVERS + SENTINELS) if authority else []
        self._tls_ports, self.sentinel_tls_ports = tls_ports[:SERVERS], tls_ports[SERVERS:]
        self.servers: list[RedisServer] = []
        for i in range(SERVERS):
            options = {**shared, **tls}
            if tls_ports:
                options["tls-port"] = str(self._tls_ports[i])
            if i:
                options["replicaof"] = f"{LOOPBACK} {self._known_ports[0]}"
            self.servers.append(RedisServer(directory / str(i), options))
        self.sentinel_ports = free_ports(SENTINELS)
        lines = [
            f"sentinel monitor {SERVICE} {LOOPBACK} {self._known_ports[0]} {QUORUM}",
            f"sentinel down-after-milliseconds {SERVICE} {down_after_ms}",
            f"sentinel failover-timeout {SERVICE} 3000",
            *([f"sentinel auth-pass {SERVICE} {password}"] if password else []),
            *([f"requirepass {sentinel_password}"] if sentinel_password else []),
            *(f"{name} {value}" for name, value in tls.items()),
        ]
        self._sentinels = []
        for i, port in enumerate(self.sentinel_ports):
            own = [f"tls-port {self.sentinel_tls_ports[i]}"] if tls_ports else []
            self._sentinels.append(_sentinel(directory / f"sentinel-{i}", port, [*lines, *own]))

    @property
    def _known_ports(self) -> list[int]:
        """Port of each server in the answers of the sentinels."""
        return self._tls_ports or [server.port for server in self.servers]

    @property
    def url(self) -> str:
        """Its URL in the service's settings."""
        user = f":{self.password}@" if self.password else ""
        hosts = ",".join(f"{LOOPBACK}:{port}" for port in self.sentinel_ports)
        return f"redis+sentinel://{user}{hosts}/{SERVICE}/0"

    @property
    def secure_url(self) -> str:
        """The URL of the sentinels' TLS ports in the service's settings."""
        hosts = ",".join(f"{LOOPBACK}:{port}" for port in self.sentinel_tls_ports)
        return f"rediss+sentinel://{hosts}/{SERVICE}/0"

    @property
    def running(self) -> bool:
        """True while all processes exist."""
        return all([*(s.running for s in self.servers), *(p.running for p in self._sentinels)])

    def client(self) -> Redis:
        """Return a client like the service's."""
        client = redis_client(load(redis_url=self.url))
        assert isinstance(client, Redis)
        return client

    def start(self) -> None:
        """Start servers that are down; wait until all sentinels agree on one master."""
        for server in self.servers:
            if not server.running:
                server.start()
        for process, port in zip(self._sentinels, self.sentinel_ports, strict=True):
            if not process.running:
                process.start(partial(accepts_connections, port))
        self.wait_until_whole()

    def stop(self) -> None:
        """Shut everything down."""
        for process in self._sentinels:
            process.stop()
        for server in self.servers:
            server.stop()

    def flush(self) -> None:
        """Delete every key and every cached script."""
        with self.client() as client:
            client.flushall()
        for server in self.servers:
            with self._at(server) as client:
                client.script_flush()

    def master(self) -> RedisServer:
        """Return the server that most sentinels call the master."""
        ports = [int(self._told(port)["port"]) for port in self.sentinel_ports]
        return self.servers[self._known_ports.index(max(ports, key=ports.count))]

    def fail_over(self) -> None:
        """Make a replica the master while the old one runs, as for maintenance.

        It is asked for until it is done: sentinels give up a failover that takes long.
        """
        old = self.master()
        with _client(self.sentinel_ports[0], self._sentinel_password) as client:

            def is_done() -> bool:
                if self.master() is old:
                    with suppress(ResponseError):  # one is in progress
                        client.execute_command("SENTINEL", "FAILOVER", SERVICE)
                return self.master() is not old

            self._wait(is_done)

    def role(self, server: RedisServer) -> str:
        """Return ``master`` or ``slave``, as a server itself says."""
        with self._at(server) as client:
            return str(client.execute_command("ROLE")[0].decode())

    def wait_until_whole(self) -> None:
        """Wait until sentinels and servers agree on the master and its two replicas."""

        def is_whole() -> bool:
            told = [self._told(port) for port in self.sentinel_ports]
            ports = {each["port"] for each in told}
            known = all(
                each["num-slaves"] == SERVERS - 1
                and each["num-other-sentinels"] == SENTINELS - 1
                and not each["is_sdown"]
                for each in told
            )
            roles = [self.role(server) for server in self.servers]
            return known and len(ports) == 1 and roles.count("master") == 1 and self._linked()

        self._wait(is_whole)

    def _linked(self) -> bool:
        for server in self.servers:
            with self._at(server) as client:
                info: Any = client.info("replication")
            if info["role"] == "slave" and info["master_link_status"] != "up":
                return False
        return self.role(self.master()) == "master"

    def _told(self, port: int) -> dict[str, Any]:
        with _client(port, self._sentinel_password) as client:
            masters: Any = client.sentinel_masters()
        return dict(masters[SERVICE])

    def _at(self, server: RedisServer) -> Redis:
        return _client(server.port, self.password)

    def _wait(self, holds: Callable[[], bool]) -> None:
        wait_until(holds, PATIENCE_SECONDS, "the sentinels do not agree")


def _client(port: int, password: str = "") -> Redis:
    return Redis(host=LOOPBACK, port=port, password=password or None, socket_timeout=2, protocol=2)


def _tls_options(authority: Authority) -> dict[str, str]:
    certificate = authority.issue("redis", address=LOOPBACK)
    return {
        "tls-cert-file": str(certificate.certfile),
        "tls-key-file": str(certificate.keyfile),
        "tls-ca-cert-file": str(authority.cafile),
        "tls-replication": "yes",
    }


def _sentinel(directory: Path, port: int, lines: list[str]) -> ServerProcess:
    program = shutil.which("redis-server")
    if program is None:
        raise ServerError("no redis-server: run scripts/install-servers")
    directory.mkdir(parents=True, exist_ok=True)
    config = directory / "sentinel.conf"  # sentinels write into it
    config.write_text("\n".join([f"bind {LOOPBACK}", f"port {port}", f"dir {directory}", *lines]))
    return ServerProcess(
        "Redis Sentinel", [program, str(config), "--sentinel"], directory / "sentinel.log"
    )
