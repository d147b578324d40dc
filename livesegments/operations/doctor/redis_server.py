"""The doctor's Redis checks, for a single server or every master of a cluster."""

from collections.abc import Iterator
from typing import Any

from redis import Redis
from redis.exceptions import ResponseError

from livesegments.config.clients import redis_client
from livesegments.config.settings import PREFIX, Settings
from livesegments.operations.doctor.finding import Finding, fail, ok, warn
from livesegments.store.cluster_pipeline import Cluster
from livesegments.store.keys import partition_keys
from livesegments.store.partitions import Partitions

OLDEST_REDIS = (6, 2)
NEARLY_FULL = 0.9
"""Share of ``maxmemory``."""


def look_at_redis(settings: Settings) -> Iterator[Finding]:
    """Check version, memory and persistence, and the distribution of partitions in a cluster."""
    client = redis_client(settings)
    if not isinstance(client, Cluster):
        yield from _server(client)
        return
    yield from _shares(client, settings)
    for name, master in client.masters().items():
        yield from _server(master, f" {name}", of_a_cluster=True)


def _shares(client: Cluster, settings: Settings) -> Iterator[Finding]:
    agreed = Partitions(client, settings.group_id).deployment()
    held = dict.fromkeys(client.masters(), 0)
    for partition in range(agreed.partitions if agreed else 0):
        key = partition_keys(settings.group_id, partition).customers
        held[client.get_node_from_key(key).name] += 1
    shares = ", ".join(f"{name} {count}" for name, count in sorted(held.items()))
    yield ok("redis cluster", f"{len(held)} masters, with partitions: {shares}")


def _server(client: "Redis", name: str = "", *, of_a_cluster: bool = False) -> Iterator[Finding]:
    info: dict[str, Any] = dict(client.info())
    version = str(info["redis_version"])
    new_enough = tuple(int(part) for part in version.split(".")[:2]) >= OLDEST_REDIS
    yield Finding(
        f"redis{name}", "ok" if new_enough else "fail", f"version {version}", "use 6.2 or later"
    )
    if info.get("cluster_enabled") and not of_a_cluster:
        yield fail(
            "redis cluster",
            "the server is one of a cluster, and the URL that of a single server",
            f"write redis+cluster:// or rediss+cluster:// ({PREFIX}REDIS_URL)",
        )
    if of_a_cluster and not info.get("connected_slaves"):
        yield warn(
            f"redis{name} replica",
            "has none",
            "give it one: while a master is away its partitions wait, and as a rule all others too"
            " (cluster-require-full-coverage)",
        )
    policy = info.get("maxmemory_policy", "noeviction")
    if info.get("maxmemory") and policy != "noeviction":
        yield fail(
            f"redis{name} memory",
            f"maxmemory-policy is {policy}: customers would be lost, without being noticed",
            "set maxmemory-policy noeviction",
        )
    if evicted := info.get("evicted_keys"):
        yield warn(
            f"redis{name} evictions",
            f"{evicted} keys were evicted since the server started",
            "set maxmemory-policy noeviction; if livesegments verify finds faults, stop all workers"
            " and run livesegments rebuild",
        )
    used = info["used_memory"] / info["maxmemory"] if info.get("maxmemory") else 0.0
    if used > NEARLY_FULL:
        report = fail if used >= 1 else warn
        yield report(
            f"redis{name} memory",
            f"{used:.0%} of maxmemory is used",
            "raise maxmemory: a full server refuses writes, and workers wait until it takes them",
        )
    if not info.get("aof_enabled") and not _saves(client):
        yield warn(
            f"redis{name} persistence",
            "is off",
            "turn appendonly on, or expect a rebuild from Kafka after every restart of Redis",
        )


def _saves(client: "Redis") -> bool:
    try:
        return bool(dict(client.config_get("save")).get("save"))
    except ResponseError:
        return True  # hidden by managed services: nothing indicates that it is off
