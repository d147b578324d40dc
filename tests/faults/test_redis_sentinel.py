"""Failovers by Redis Sentinel while two workers run under load."""

from collections.abc import Callable

import pytest

from tests.sending import Feed
from tests.service import Event, Service

pytestmark = pytest.mark.servers

Fault = Callable[[Service], None]


def master_killed(service: Service) -> None:
    """Kill the master: a replica takes over without the writes that it has not seen."""
    sentinels = service.redis_sentinels
    old = sentinels.master()
    old.kill()
    service.wait_for(lambda: sentinels.master() is not old, "a replica takes over")


def master_frozen(service: Service) -> None:
    """Freeze the master until it is replaced; then it still takes writes, which will be lost."""
    sentinels = service.redis_sentinels
    old = sentinels.master()
    old.pause()
    service.wait_for(lambda: sentinels.master() is not old, "a replica takes over")
    old.resume()
    service.wait_for(lambda: sentinels.role(old) == "slave", "the old master follows")


def master_demoted(service: Service) -> None:
    """Change the master for maintenance: the old one keeps its clients and refuses writes."""
    sentinels = service.redis_sentinels
    old = sentinels.master()
    sentinels.fail_over()
    service.wait_for(lambda: sentinels.role(old) == "slave", "the old master follows")


@pytest.mark.parametrize("fault", [master_killed, master_frozen, master_demoted])
def test_two_workers_go_on_under_load(
    watched: Service, make_load: Callable[..., list[Event]], fault: Fault
) -> None:
    workers = [watched.start(), watched.start()]
    with Feed(watched, make_load) as feed:
        watched.wait_for(lambda: watched.has_model(), "the model is known")
        fault(watched)
        feed.go_on(1_000)
    watched.wait(90)
    assert [worker.poll() for worker in workers] == [None, None]
    watched.verified()
    watched.wait_for(lambda: not watched.missing(), "the worker is ready")
