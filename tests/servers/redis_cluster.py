"""A Redis Cluster of three masters with a replica each, on free loopback ports."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

from redis.crc import key_slot
from redis.exceptions import RedisError

from livesegments.config.clients import redis_client
from livesegments.config.settings import load
from livesegments.local_servers import LOOPBACK, free_ports
from livesegments.store.cluster_pipeline import Cluster
from tests.servers.process import Server, wait_until
from tests.servers.redis_server import RedisServer

MASTERS, SLOTS = 3, 16_384
PATIENCE_SECONDS = 30.0


class RedisCluster(Server):
    """Six servers that form one cluster.

    Parameters
    ----------
    directory
        Folder of their data and logs.
    node_timeout_ms
        Silence after which a server is considered dead.
    server
        Creates one of the servers.
    """

    def __init__(
        self,
        directory: Path,
        node_timeout_ms: int = 1_000,
        server: Callable[[Path, Mapping[str, str]], RedisServer] = RedisServer,
    ) -> None:
        self.servers = [
            server(
                directory / str(i),
                {
                    "cluster-enabled": "yes",
                    "cluster-config-file": "nodes.conf",
                    "cluster-node-timeout": str(node_timeout_ms),
                    "cluster-port": str(free_ports(1)[0]),
                    # Diskless replication without delay.
                    "repl-diskless-sync-delay": "0",
                },
            )
            for i in range(2 * MASTERS)
        ]

    @property
    def url(self) -> str:
        """Its URL in the service's settings."""
        return f"redis+cluster://{','.join(f'{LOOPBACK}:{s.port}' for s in self.servers)}"

    @property
    def running(self) -> bool:
        """True while all servers' processes exist."""
        return all(server.running for server in self.servers)

    def client(self) -> Cluster:
        """Return a client like the service's."""
        client = redis_client(load(redis_url=self.url))
        assert isinstance(client, Cluster)
        return client

    def start(self) -> None:
        """Start the servers that are down; those that were never started form a new cluster."""
        for server in self.servers:
            if not server.running:
                server.start()
        if self._asked(0, "CLUSTER INFO")["cluster_known_nodes"] == "1":
            self._form()
        self.wait_until_whole()

    def _form(self) -> None:
        share = -(-SLOTS // MASTERS)
        for i, server in enumerate(self.servers):
            self._ask(server, "CLUSTER SET-CONFIG-EPOCH", i + 1)
            if i < MASTERS:
                last = min((i + 1) * share, SLOTS) - 1
                self._ask(server, "CLUSTER ADDSLOTSRANGE", i * share, last)
        first = self.servers[0]
        bus = {s.port: s.options["cluster-port"] for s in self.servers}
        for server in self.servers[1:]:
            self._ask(first, "CLUSTER MEET", LOOPBACK, server.port, bus[server.port])
        everyone = str(len(self.servers))
        self._wait(
            lambda: all(
                self._asked(i, "CLUSTER INFO")["cluster_known_nodes"] == everyone
                for i in range(len(self.servers))
            )
        )
        for master, replica in zip(self.servers, self.servers[MASTERS:], strict=False):
            identity = self._ask(master, "CLUSTER MYID")
            # It may not know yet that the other is a master.
            self._wait(partial(self._ask, replica, "CLUSTER REPLICATE", identity))

    def stop(self) -> None:
        """Shut all servers down."""
        for server in self.servers:
            server.stop()

    def resume(self) -> None:
        """Resume paused servers."""
        for server in self.servers:
            server.resume()

    def flush(self) -> None:
        """Delete every key and every cached script."""
        for server in self.masters():
            with server.client() as client:
                client.flushall()
                client.script_flush()

    def masters(self) -> list[RedisServer]:
        """Return the servers that report themselves as masters."""
        return [s for s in self.servers if s.running and self._role(s) == b"master"]

    def master_of(self, key: str) -> RedisServer:
        """Return the master that owns a key."""
        with self.client() as client:
            port = client.get_node_from_key(key).port
        return next(server for server in self.servers if server.port == port)

    def wait_until_whole(self) -> None:
        """Wait until every server sees a healthy cluster and every master has a replica."""

        def is_whole() -> bool:
            for i, server in enumerate(self.servers):
                if self._asked(i, "CLUSTER INFO")["cluster_state"] != "ok":
                    return False
                with server.client() as client:
                    info: Any = client.info("replication")
                if info["role"] == "slave" and info["master_link_status"] != "up":
                    return False
            return len(self.masters()) == MASTERS

        self._wait(is_whole)

    def begin_to_move(self, key: str) -> Move:
        """Start to move a key's slot from its master to another."""
        source = self.master_of(key)
        target = next(server for server in self.masters() if server is not source)
        return Move(key_slot(key.encode()), source, target, self.masters())

    def _role(self, server: RedisServer) -> Any:
        with server.client() as client:
            return client.execute_command("ROLE")[0]

    def _asked(self, i: int, command: str) -> dict[str, str]:
        with self.servers[i].client() as client:
            return dict(client.execute_command(command))

    def _ask(self, server: RedisServer, *command: Any) -> Any:
        with suppress(RedisError), server.client() as client:
            return client.execute_command(*command)

    def _wait(self, holds: Callable[[], Any]) -> None:
        wait_until(holds, PATIENCE_SECONDS, "Redis Cluster is not whole")


class Move:
    """A slot migration between two masters, as done by ``redis-cli --cluster reshard``."""

    def __init__(
        self, slot: int, source: RedisServer, target: RedisServer, masters: list[RedisServer]
    ) -> None:
        self.slot, self.source, self.target = slot, source, target
        self._masters = masters
        with source.client() as here, target.client() as there:
            self._source_id = here.execute_command("CLUSTER MYID").decode()
            self._target_id = there.execute_command("CLUSTER MYID").decode()
            there.execute_command("CLUSTER SETSLOT", slot, "IMPORTING", self._source_id)
            here.execute_command("CLUSTER SETSLOT", slot, "MIGRATING", self._target_id)

    def move_key(self) -> bool:
        """Move one key; return whether there was one."""
        with self.source.client() as client:
            keys = client.execute_command("CLUSTER GETKEYSINSLOT", self.slot, 1)
            if keys:
                client.execute_command("MIGRATE", LOOPBACK, self.target.port, keys[0], 0, 10_000)
            return bool(keys)

    def end(self) -> None:
        """Move all remaining keys, and announce the slot's owner to every master."""
        while self.move_key():
            pass
        for server in [self.target, self.source, *self._masters]:
            with server.client() as client:
                client.execute_command("CLUSTER SETSLOT", self.slot, "NODE", self._target_id)
