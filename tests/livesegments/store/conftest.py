"""A store on one server, and on a cluster of several."""

from collections.abc import Iterator

import pytest

from livesegments.store.cluster_pipeline import Client
from livesegments.store.partitions import (
    Commit,
    Partitions,
)
from tests.livesegments.store.commits import ENTRY, FIRST
from tests.servers import RedisCluster, RedisServer


@pytest.fixture(params=["fresh_redis", "fresh_cluster"])
def client(request: pytest.FixtureRequest) -> Iterator[Client]:
    server: RedisServer | RedisCluster = request.getfixturevalue(request.param)
    with server.client() as connected:
        yield connected


@pytest.fixture
def store(client: Client) -> Partitions:
    return Partitions(client, "group")


@pytest.fixture
def started(store: Partitions) -> Partitions:
    """A store in which partition 0 has one customer, statistics, an outbox and an erasure."""
    commit = Commit(
        0,
        None,
        FIRST,
        records={"c-1": b"one"},
        statistics={1: b"counted"},
        entry=ENTRY,
        erasures={b"hash": b"marker"},
        ring=[(0, b"12345678")],
    )
    assert store.commit([commit]) == [True]
    return store
