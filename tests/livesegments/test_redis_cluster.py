"""Every command that reads the store does so on a Redis Cluster."""

import json
from pathlib import Path

import pytest
from redis.exceptions import MovedError, RedisError

from livesegments.config.clients import redis_client
from livesegments.config.error_messages import explain
from livesegments.config.settings import load
from livesegments.store.partitions import Partitions
from tests.load import load as make_load
from tests.servers import RedisCluster, RedisServer
from tests.service import PARTITIONS, Service

pytestmark = pytest.mark.servers


def test_commands_find_in_a_cluster_what_they_find_in_one_server(
    clustered: Service, tmp_path: Path
) -> None:
    clustered.send(make_load(4_000))
    clustered.start()
    clustered.wait()
    rows = tmp_path / "rows.jsonl"
    for arguments in (
        ["verify"],
        ["export", str(rows)],
        ["refit"],
        ["doctor"],
        ["watch", "--json", "--limit", "1"],
        ["customer", "c0000"],
        ["rebuild", "--yes"],
    ):
        done = clustered.command(*arguments)
        assert done.returncode == 0, (arguments, done.stdout, done.stderr)
        if arguments == ["doctor"]:
            assert "redis cluster: 3 masters" in done.stdout
        if arguments[0] == "watch":
            seen = json.loads(done.stdout)
            assert (seen["troubles"], seen["workers"]) == ([], 1)
            assert sum(each["customers"] for each in seen["segments"]) > 300
    clustered.wait()
    assert len(rows.read_text().splitlines()) > 300
    assert all(json.loads(line)["customer_id"] for line in rows.read_text().splitlines())
    clustered.verified()


def test_the_url_of_the_other_kind_is_told(
    fresh_cluster: RedisCluster, fresh_redis: RedisServer
) -> None:
    one_of_it = load(redis_url=f"redis://127.0.0.1:{fresh_cluster.servers[0].port}/0")
    with redis_client(one_of_it) as client, pytest.raises(MovedError) as moved:
        Partitions(client, "livesegments").try_commands(PARTITIONS)
    assert "is a cluster there: write redis+cluster://" in explain(moved.value, one_of_it)
    single = load(redis_url=fresh_redis.url.replace("redis:", "redis+cluster:"))
    with pytest.raises(RedisError, match="Cluster mode") as none:
        redis_client(single)
    assert "is a single server there: write redis://" in explain(none.value, single)


def test_a_cluster_is_writable_when_each_of_its_masters_is(fresh_cluster: RedisCluster) -> None:
    with redis_client(load(redis_url=fresh_cluster.url), 0.5) as client:
        probe = Partitions(client, "livesegments")
        assert probe.writable(range(PARTITIONS))
        allow_failovers(fresh_cluster, allowed=False)
        master = fresh_cluster.master_of(probe.keys(0).seen)
        master.kill()
        assert not probe.writable(range(PARTITIONS))
        fresh_cluster.start()
        allow_failovers(fresh_cluster, allowed=True)
        assert probe.writable(range(PARTITIONS))


def allow_failovers(cluster: RedisCluster, *, allowed: bool) -> None:
    for server in cluster.servers:
        with server.client() as client:
            client.config_set("cluster-replica-no-failover", "no" if allowed else "yes")


def test_a_cluster_is_found_by_any_of_the_servers_named(fresh_cluster: RedisCluster) -> None:
    ports = [1, fresh_cluster.servers[-1].port]
    url = f"redis+cluster://{','.join(f'127.0.0.1:{port}' for port in ports)}"
    with redis_client(load(redis_url=url)) as client:
        assert Partitions(client, "livesegments").writable(range(PARTITIONS))
