"""Commits of a small store, and the servers that hold it."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import redis

from livesegments.store.checkpoint import Checkpoint, Offsets
from livesegments.store.cluster_pipeline import Client, Cluster
from livesegments.store.outbox import Entry, Output

FIRST = Checkpoint(version=1, nonce="00000000000000aa")
OUTPUT = Output("topic", b"key", None, [("name", b"value")])
ENTRY = Entry.of(1, Offsets(4, 5, 6), [OUTPUT])


def contents(client: Client) -> dict[bytes, bytes]:
    """Every key with its contents as bytes."""
    return {bytes(key): client.dump(key) or b"" for key in client.scan_iter()}


def after(checkpoint: Checkpoint, **changes: int | str) -> Checkpoint:
    return replace(checkpoint, version=checkpoint.version + 1, **changes)  # type: ignore[arg-type]


def servers_of(client: Client) -> list[redis.Redis]:
    return list(client.masters().values()) if isinstance(client, Cluster) else [client]


@contextmanager
def configured(client: Client, name: str, value: str) -> Iterator[None]:
    """Redis with a changed setting."""
    before = [str(server.config_get(name)[name]) for server in servers_of(client)]
    for server in servers_of(client):
        server.config_set(name, value)
    try:
        yield
    finally:
        for server, was in zip(servers_of(client), before, strict=True):
            server.config_set(name, was)
