"""A scan of a partition's customers on a cluster stays on one server, or fails."""

import pytest
from redis.exceptions import RedisError

from livesegments.store.checkpoint import Checkpoint
from livesegments.store.partitions import Commit, Partitions
from tests.servers import RedisCluster

pytestmark = pytest.mark.servers


def test_a_walk_ends_in_an_error_when_another_server_has_the_partition(
    fresh_cluster: RedisCluster,
) -> None:
    with fresh_cluster.client() as client:
        store = Partitions(client, "group")
        records = {f"c-{i}": b"r" * 220 for i in range(3_000)}
        commit = Commit(0, None, Checkpoint(version=1, nonce="00000000000000aa"), records=records)
        assert store.commit([commit]) == [True]
        walk = store.customers(0, count=100)
        next(walk)
        fresh_cluster.begin_to_move(store.keys(0).customers).end()
        # The cursor is meaningless on the other server: continuing there would skip customers.
        with pytest.raises(RedisError):
            list(walk)
        assert dict(store.customers(0)) == records
