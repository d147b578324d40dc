"""A Redis Cluster with failing masters and moving slots while two workers run under load."""

import time
from collections.abc import Callable

import pytest

from tests.sending import Feed
from tests.service import PARTITIONS, Event, Service

pytestmark = pytest.mark.servers

Fault = Callable[[Service], None]

KEYS = [f"livesegments:{{{partition}}}:customers" for partition in range(PARTITIONS)]


def master_killed(service: Service) -> None:
    """Kill the master of a partition: its replica takes over without the unreplicated writes."""
    cluster = service.redis_cluster
    master = cluster.master_of(KEYS[1])
    master.kill()
    service.wait_for(lambda: len(cluster.masters()) == 3, "the replica takes over")


def shard_emptied(service: Service) -> None:
    """Crash the masters and replicas of some partitions; they return empty."""
    cluster = service.redis_cluster
    lost = [server for server in cluster.servers if server is not cluster.master_of(KEYS[0])]
    for server in lost:
        server.kill()
    cluster.start()


def slot_moved(service: Service) -> None:
    """Move a partition's slot to another master; for a while each of the two has some keys."""
    move = service.redis_cluster.begin_to_move(KEYS[1])
    assert move.move_key()
    time.sleep(2)
    move.end()


@pytest.mark.parametrize("fault", [master_killed, slot_moved, shard_emptied])
def test_two_workers_go_on_under_load(
    clustered: Service, make_load: Callable[..., list[Event]], fault: Fault
) -> None:
    workers = [clustered.start(), clustered.start()]
    with Feed(clustered, make_load) as feed:
        clustered.wait_for(lambda: clustered.has_model(), "the model is known")
        fault(clustered)
        feed.go_on(1_000)
    clustered.wait(90)
    assert [worker.poll() for worker in workers] == [None, None]
    clustered.verified()
    assert len({clustered.redis_cluster.master_of(key).port for key in KEYS}) > 1
