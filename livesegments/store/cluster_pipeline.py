"""Command batches for a single Redis server or the servers of a Redis Cluster."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager, suppress
from typing import Any

import redis
from redis.client import Pipeline
from redis.cluster import ClusterNode
from redis.exceptions import ClusterError, ReadOnlyError, RedisClusterException, RedisError

_MOST_AT_ONCE = 32


class Cluster(redis.RedisCluster):
    """Redis Cluster client that raises `RedisError`, as a single-server client does.

    redis-py's RedisClusterException is not one, and its message usually omits the cause.
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        with _errors_of_redis():
            super().__init__(*args, **options)

    def execute_command(self, *args: Any, **options: Any) -> Any:
        """Run one command on the server that holds its key."""
        with _errors_of_redis():
            return super().execute_command(*args, **options)  # type: ignore[no-untyped-call]

    def get_node_from_key(self, key: Any, replica: bool = False) -> ClusterNode:
        """Return the server that holds a key."""
        with _errors_of_redis():
            node: ClusterNode = super().get_node_from_key(key, replica)  # type: ignore[no-untyped-call]
            return node

    def masters(self) -> dict[str, "redis.Redis"]:
        """Return the client of each master, by ``host:port``."""
        nodes = self.get_primaries()  # type: ignore[no-untyped-call]
        return {node.name: self.get_redis_connection(node) for node in nodes}

    def look_again(self) -> None:
        """Refresh the slot map; keep the current one if no server answers."""
        with suppress(RedisClusterException, RedisError):
            self.nodes_manager.initialize()


@contextmanager
def _errors_of_redis() -> Iterator[None]:
    try:
        yield
    except RedisClusterException as error:
        cause = error.__cause__
        if isinstance(cause, RedisError):
            raise cause from cause.__context__
        raise ClusterError(str(cause or error)) from cause


Client = redis.Redis | Cluster


def server_of(client: Client, key: str) -> "redis.Redis":
    """Return the client of the server that holds a key, according to the current slot map."""
    if isinstance(client, Cluster):
        return client.get_redis_connection(client.get_node_from_key(key))
    return client


class Servers:
    """The servers of a client, and the threads that ask several of them at once."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.threads = ThreadPoolExecutor(_MOST_AT_ONCE, thread_name_prefix="store")


class CommandBatch:
    """Commands on several keys, with one round trip to each server that holds some of them.

    redis-py's cluster pipelines retry commands one by one, possibly on another server, after a
    timeout or a MOVED reply. Here these are errors: an HSCAN cursor is meaningless on another
    server, so the worker must notice the change. After an error the slot map is refreshed.

    Parameters
    ----------
    servers
        Where the keys are.
    atomic
        Whether each server runs its commands as one transaction.
    """

    def __init__(self, servers: Servers, *, atomic: bool = False) -> None:
        self._servers, self._atomic = servers, atomic
        self._pipelines: dict[redis.Redis, Pipeline] = {}
        self._order: list[redis.Redis] = []

    def on(self, key: str) -> Pipeline:
        """Return a pipeline to queue one command on a key."""
        server = server_of(self._servers.client, key)
        if server not in self._pipelines:
            self._pipelines[server] = server.pipeline(transaction=self._atomic)
        self._order.append(server)
        return self._pipelines[server]

    def execute(self) -> list[Any]:
        """Send all commands; return their replies in the order of the commands.

        Raises
        ------
        RedisError
            If a command fails: the first error, after all servers have answered. Other commands may
            have been executed.
        """
        client, pipelines = self._servers.client, list(self._pipelines.values())
        try:
            if len(pipelines) == 1:
                return pipelines[0].execute()
            running = [self._servers.threads.submit(pipeline.execute) for pipeline in pipelines]
            wait(running)
            replies = [iter(each.result()) for each in running]
        except RedisError as error:
            if isinstance(client, Cluster):
                client.look_again()
            elif isinstance(error, ReadOnlyError) or "READONLY" in str(error):  # Redis 6: a script
                # A demoted master keeps its connections. New ones resolve its name again, or ask
                # the sentinels. Another thread's are left to fail by themselves.
                client.connection_pool.disconnect(inuse_connections=False)
            raise
        of = dict(zip(self._pipelines, replies, strict=True))
        return [next(of[server]) for server in self._order]
