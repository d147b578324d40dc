"""Scale benches measure the right quantities; inputs are tiny, so the figures mean nothing."""

import time
from collections.abc import Iterator

import pytest
import redis

from bench import customers, resident, rollout
from bench.throughput import GROUP
from bench.workers import purchases
from livesegments.store.keys import partition_keys
from tests.servers import RedisServer


@pytest.fixture
def client(fresh_redis: RedisServer) -> Iterator["redis.Redis"]:
    with fresh_redis.client() as connected:
        yield connected


@pytest.mark.servers
def test_a_grown_partition_counts_each_of_its_customers_once(client: "redis.Redis") -> None:
    few = customers.World(client, customers.TEMPLATES, customers.templates())
    world = few.grown(client, 3 * customers.TEMPLATES)
    assert world.members == 3 * customers.TEMPLATES
    for sweep in (False, True):
        assert world.round(100, sweep=sweep) > 0
    assert world.members == 3 * customers.TEMPLATES


@pytest.mark.servers
def test_customers_has_a_row_for_each_size_and_one_for_a_sweep() -> None:
    table = customers.run((6_000, 12_000), rounds=1, live_rounds=2)
    assert [row[0] for row in table.rows] == ["6,000", "12,000"]
    assert table.rows[0][2] == "1.00"
    assert [row[0] for row in table.more[0].rows] == ["events alone", "a sweep under way"]


def test_no_event_of_a_backlog_comes_twice() -> None:
    events = [*purchases(10, 5, 1.0), *purchases(10, 5, 1.0, first=10)]
    ids = {value.split(b'"event_id": ')[1][:12] for _, value in events}
    assert len(ids) == 20


@pytest.mark.servers
def test_a_partition_rests_from_one_commit_to_the_next(
    fresh_redis: RedisServer, client: "redis.Redis"
) -> None:
    with rollout.Rests(fresh_redis, 2) as rests:
        for version in range(1, 11):
            client.hset(partition_keys(GROUP, 0).progress, "version", version)
            if version in (1, 10):
                client.hset(partition_keys(GROUP, 1).progress, "version", version)
            time.sleep(0.1)
    often, seldom = rests.gaps
    assert len(often) > len(seldom)
    assert rests.longest() == max(seldom) >= 0.8


@pytest.mark.parametrize(("growth", "met"), [(0, True), (1_000_000, False)])
def test_memory_that_grows_does_not_meet_the_goal(growth: int, met: bool) -> None:
    samples = resident.Samples()
    for second in range(120):
        samples.at.append(float(second))
        samples.worker.append(100_000_000 + growth * second)
        samples.publisher.append(50_000_000)
    table = resident.table_of(samples, 1, 2.0)
    assert table.notes[-1].endswith("NOT met") != met
    assert table.rows[1][3:] == ("1.000", "+0.0")
