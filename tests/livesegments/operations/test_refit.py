"""A manual fit: its preview, and its adoption by the running service."""

import json
import signal
import time
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
import redis

from livesegments.config.settings import Settings
from livesegments.consumers.modelling.refit import Request
from livesegments.operations.refit import Refit, RefitError
from livesegments.store.refit_requests import RefitRequests
from tests.consumers.harness import generation
from tests.servers import RedisServer
from tests.service import PARTITIONS, Event, Service, profile, purchase

pytestmark = pytest.mark.servers

PEOPLE = 300


def bought(first_day: int, days: int, seed: int) -> list[Event]:
    """Purchases of people who differ in how often and for how much they buy."""
    rng = np.random.default_rng(seed)
    events = []
    for i in range(PEOPLE):
        for day in range(first_day, first_day + days, 1 + i % 6):
            amount = round(float(rng.gamma(2, 4 + 20 * (i % 7))) + 1, 2)
            events.append(purchase(f"c{i:03d}", f"2024-01-{day:02d}T10:00:00Z", amount))
    return events


def known() -> list[Event]:
    """Profiles of most of them."""
    return [
        profile(
            f"c{i:03d}",
            "2024-01-01T00:00:00Z",
            age=20 + i % 60,
            income=10_000 + 900 * (i % 150),
            location=("urban", "suburban", "rural")[i % 3],
        )
        for i in range(PEOPLE)
        if i % 4
    ]


def refit(service: Service) -> Refit:
    """Run the command's function in this process."""
    settings = Settings(
        kafka_bootstrap_servers=service.kafka.bootstrap, redis_url=service.redis_server.url
    )
    return Refit(settings, lambda _: None)


@pytest.fixture
def modelled(service: Service) -> Service:
    """A service whose model is fitted to the first customers, who differ from the later ones."""
    service.environment |= {"LIVESEGMENTS_REFIT": "off", "LIVESEGMENTS_SWEEP_CUSTOMERS": "50"}
    service.start()
    service.send(bought(2, 4, 1)[:200])
    service.wait_for(service.has_model, "everyone is scored")
    service.send([*known(), *bought(6, 20, 2)])
    service.wait()
    return service


def test_a_fit_is_shown_and_then_taken_as_it_was_shown(modelled: Service) -> None:
    shown = modelled.command("refit", "--dry-run", "--all", "--json")
    assert shown.returncode == 0, shown.stderr
    told = json.loads(shown.stdout)
    assert told["sample"] == told["customers"] == PEOPLE
    assert 0 < told["gain"] < 1
    assert told["inertia"]["new"] < told["inertia"]["now"]
    assert sum(each["customers"]["new"] for each in told["segments"]) == PEOPLE
    assert told["moving"] == sum(each["customers"] for each in told["moves"]) > 0
    assert not modelled.client.exists("livesegments:refit")

    people = modelled.command("refit", "--dry-run", "--all")
    assert f"{told['moving']} customers would change segment" in people.stdout
    assert "High-Value Customers" in people.stdout

    taken = modelled.command("refit", "--all", "--json")
    assert taken.returncode == 0, taken.stderr
    assert f"adopted by {PARTITIONS} of {PARTITIONS} partitions" in taken.stderr
    number = json.loads(taken.stdout)["generation"]
    modelled.wait()
    made = [change for change in modelled.changes() if change.model.generation == number]
    assert {change.origin for change in made} == {"model"}
    moved = {
        (each["from"], each["to"]): each["customers"] for each in json.loads(taken.stdout)["moves"]
    }
    found = Counter(
        (
            change.previous_segment.id if change.previous_segment else None,
            change.segment.id if change.segment else None,
        )
        for change in made
    )
    assert found == moved
    modelled.verified()
    assert not modelled.client.exists("livesegments:refit")


def test_a_request_that_is_left_is_taken_once_even_by_a_later_owner(modelled: Service) -> None:
    left = modelled.command("refit", "--no-wait")
    assert left.returncode == 0, left.stderr
    modelled.workers[0].kill()
    modelled.start()
    modelled.wait_for(
        lambda: not modelled.client.exists("livesegments:refit"), "the request is over"
    )
    modelled.wait()
    assert len({change.model.generation for change in modelled.changes()}) == 2
    modelled.verified()


def test_without_a_worker_nothing_is_asked_for(modelled: Service) -> None:
    modelled.leave(modelled.workers[0])
    done = modelled.command("refit")
    assert done.returncode == 1
    assert "no worker runs in group 'livesegments'" in done.stderr
    assert not modelled.client.exists("livesegments:refit")
    assert modelled.command("refit", "--dry-run").returncode == 0


def test_a_worker_that_hangs_lets_the_request_be_withdrawn(modelled: Service) -> None:
    modelled.workers[0].send_signal(signal.SIGSTOP)
    work = refit(modelled)
    request = Request(work.propose().fit.number, work.propose().fit)
    assert RefitRequests(modelled.client, "livesegments").put(request.to_bytes(), 30)
    with pytest.raises(
        RefitError, match="no worker adopted the fit within 1 s, and it is withdrawn"
    ):
        work.wait_for_generation(request, 1)
    assert not modelled.client.exists("livesegments:refit")


def test_two_requests_exclude_each_other_and_a_void_one_is_dropped(modelled: Service) -> None:
    work = refit(modelled)
    proposal = work.propose()
    void = replace(proposal, fit=replace(proposal.fit, number=proposal.fit.number + 1))
    for worker in modelled.workers:
        worker.send_signal(signal.SIGSTOP)  # otherwise it might drop the request first
    modelled.client.set("livesegments:refit", b"not a request")
    with pytest.raises(RefitError, match="another refit request is pending"):
        work.request(proposal, 5)
    for worker in modelled.workers:
        worker.send_signal(signal.SIGCONT)
    modelled.wait_for(
        lambda: not modelled.client.exists("livesegments:refit"), "an invalid request is dropped"
    )
    work.request(void, 30)
    modelled.wait_for(
        lambda: not modelled.client.exists("livesegments:refit"), "a void request is dropped"
    )
    first = work.request(proposal, 30)
    assert work.wait_for_generation(first, 30).number > proposal.fit.number
    late = Request(first.replaces, replace(first.fit, sizes=(1, 1, 1, 1, 1)))
    with pytest.raises(RefitError, match="was published first"):
        work.wait_for_generation(late, 30)


def test_before_there_is_a_model_there_is_nothing_to_refit(service: Service) -> None:
    done = service.command("refit", "--dry-run")
    assert done.returncode == 1
    assert "no worker has ever run" in done.stderr
    service.start()
    service.wait_for(lambda: "owns partitions" in service.tail(), "it has joined")
    done = service.command("refit")
    assert done.returncode == 1
    assert "there is no model yet" in done.stderr


class TestRequests:
    """Storage of a refit request."""

    request = Request(3, generation(3)).to_bytes()

    def test_only_one_waits_and_only_it_can_be_removed(self, fresh_redis: RedisServer) -> None:
        requests = RefitRequests(redis.Redis.from_url(fresh_redis.url), "group")
        assert requests.get() is None
        assert requests.put(self.request, 10)
        assert not requests.put(b"another", 10)
        assert requests.get() == self.request
        assert not requests.remove(b"another")
        assert requests.remove(self.request)
        assert requests.get() is None

    def test_a_request_lapses(self, fresh_redis: RedisServer) -> None:
        requests = RefitRequests(redis.Redis.from_url(fresh_redis.url), "group")
        assert requests.put(self.request, 0.01)
        time.sleep(0.1)
        assert requests.get() is None
        assert requests.put(b"another", 10)
