"""A store emptied or set back by seconds while two workers run and input keeps arriving."""

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.sending import Feed
from tests.service import Event, Service

pytestmark = pytest.mark.servers

Fault = Callable[[Service, Path], None]


def emptied(service: Service, _: Path) -> None:
    service.client.flushall()


def seconds_back(service: Service, folder: Path) -> None:
    """Restart the store with its contents of about three seconds ago, as a failover may."""
    service.redis_server.save(folder / "older.rdb")
    time.sleep(3)
    service.redis_server.roll_back(folder / "older.rdb")


@pytest.mark.parametrize("fault", [emptied, seconds_back])
def test_two_workers_go_on_under_load(
    service: Service, make_load: Callable[..., list[Event]], tmp_path: Path, fault: Fault
) -> None:
    workers = [service.start(), service.start()]
    with Feed(service, make_load) as feed:
        service.wait_for(lambda: service.has_model(), "the model is known")
        fault(service, tmp_path)
        feed.go_on(1_000)
    service.wait(90)
    assert [worker.poll() for worker in workers] == [None, None]
    service.verified()
