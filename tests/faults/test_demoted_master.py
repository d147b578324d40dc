"""A Redis master that is demoted behind its name: it keeps its clients and refuses writes.

The proxy is the name: a new connection goes to another server, an open one stays.
"""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from livesegments.local_servers import LOOPBACK
from tests.sending import Feed
from tests.servers import KafkaServer, Proxy, RedisServer
from tests.service import Event, Service

pytestmark = pytest.mark.servers


@pytest.fixture
def replica(fresh_redis: RedisServer, tmp_path: Path) -> Iterator[RedisServer]:
    options = {"replicaof": f"{LOOPBACK} {fresh_redis.port}", "repl-diskless-sync-delay": "0"}
    with RedisServer(tmp_path / "replica", options) as server:
        yield server


def test_workers_follow_the_name_to_the_new_master(
    fresh_kafka: KafkaServer,
    fresh_redis: RedisServer,
    replica: RedisServer,
    tmp_path: Path,
    make_load: Callable[..., list[Event]],
) -> None:
    with Proxy(fresh_redis.port) as name, replica.client() as new, fresh_redis.client() as old:
        through = {"REDIS_URL": f"redis://{LOOPBACK}:{name.port}/0"}
        service = Service(fresh_kafka, replica, tmp_path, through)
        try:
            workers = [service.start(), service.start()]
            with Feed(service, make_load) as feed:
                service.wait_for(lambda: service.has_model(), "the model is known")
                service.wait_for(lambda: not service.missing(), "the worker is ready")
                new.replicaof("NO", "ONE")
                old.replicaof(LOOPBACK, replica.port)
                service.wait_for(lambda: "redis" in service.missing(), "reads alone are not enough")
                name.upstream = replica.port
                service.wait_for(lambda: not service.missing(), "the worker is ready again", 20)
                feed.go_on(500)
            service.wait()
            assert [worker.poll() for worker in workers] == [None, None]
            service.verified()
        finally:
            service.stop()
            old.replicaof("NO", "ONE")
