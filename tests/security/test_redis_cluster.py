"""The rights of docs/security.md suffice on a Redis Cluster; one missing on a shard is found."""

from collections.abc import Iterator

import pytest
from redis.exceptions import NoPermissionError

from livesegments.config.clients import redis_client
from livesegments.config.settings import Settings, load
from livesegments.operations.doctor.redis_server import look_at_redis
from livesegments.store.checkpoint import Checkpoint
from livesegments.store.deployment import Deployment
from livesegments.store.partitions import Commit, Partitions, ReadRequest
from livesegments.store.refit_requests import RefitRequests
from tests.security.secured import documented_redis_users, password_of
from tests.servers import RedisCluster

pytestmark = pytest.mark.servers

PARTITIONS = 4
FIRST = Checkpoint(version=1, nonce="a")
DEPLOYMENT = Deployment(PARTITIONS, 90, 30, "USD", 0, ("a", "b"), ("spend",))


@pytest.fixture
def guarded(fresh_cluster: RedisCluster) -> Iterator[RedisCluster]:
    """A cluster with the document's users on all servers."""
    for server in fresh_cluster.servers:
        with server.client() as client:
            for line in documented_redis_users():
                client.execute_command("ACL SETUSER", *line.split()[1:])
    yield fresh_cluster
    for server in fresh_cluster.servers:
        with server.client() as client:
            client.acl_deluser("worker", "auditor")


def settings_of(role: str, cluster: RedisCluster) -> Settings:
    return load(redis_url=cluster.url, redis_username=role, redis_password=password_of(role))


def test_a_worker_may_do_all_it_has_to(guarded: RedisCluster) -> None:
    with redis_client(settings_of("worker", guarded)) as client:
        store = Partitions(client, "livesegments")
        store.try_commands(PARTITIONS)
        store.agree(DEPLOYMENT)
        commits = [Commit(p, None, FIRST, records={"c": b"r"}) for p in range(PARTITIONS)]
        assert store.commit(commits) == [True] * PARTITIONS
        assert store.load(1).checkpoint == FIRST
        assert store.ring(1) == b""
        assert store.sizes(range(PARTITIONS)) == [1] * PARTITIONS
        assert store.sample({0: 1})[0] == (FIRST, [b"r"])
        assert store.read([ReadRequest(1, ["c"], [b"hash"], scan=(0, 10))])[0].records == [b"r"]
        requests = RefitRequests(client, "livesegments")
        assert requests.put(b"fit", 10)
        assert requests.get() == b"fit"
        assert requests.remove(b"fit")
        store.forget(DEPLOYMENT)
        assert Partitions(client, "livesegments").writable(range(PARTITIONS))


def test_an_auditor_may_look_at_everything(guarded: RedisCluster) -> None:
    settings = settings_of("auditor", guarded)
    with redis_client(settings) as client:
        store = Partitions(client, "livesegments")
        assert store.deployment() is None
        assert list(store.customers(0)) == []
        assert store.load(0).checkpoint is None
    assert [each for each in look_at_redis(settings) if each.status == "fail"] == []


def test_a_right_that_one_shard_does_not_give_is_found_before_anything_is_written(
    guarded: RedisCluster,
) -> None:
    master = guarded.master_of("livesegments:{1}:customers")
    with master.client() as administrator:
        administrator.acl_setuser("worker", enabled=True, commands=["-setrange"])
    with redis_client(settings_of("worker", guarded)) as client:
        store = Partitions(client, "livesegments")
        with pytest.raises(NoPermissionError, match="setrange"):
            store.try_commands(PARTITIONS)
