"""Two workers with one INSTANCE_ID: the younger ends; a restart is no second worker."""

from collections.abc import Callable

import pytest

from tests.sending import Feed
from tests.service import Event, Service

pytestmark = pytest.mark.servers

SENTENCE = "another process with the instance id 'one' is in group livesegments"


@pytest.fixture
def one(service: Service) -> Service:
    service.environment["LIVESEGMENTS_INSTANCE_ID"] = "one"
    return service


def test_a_second_worker_ends_with_a_sentence_and_the_first_works_on(
    one: Service, make_load: Callable[..., list[Event]]
) -> None:
    first = one.start()
    with Feed(one, make_load) as feed:
        one.wait_for(lambda: one.has_model(), "the model is known")
        second = one.start()
        one.wait_for(lambda: second.poll() is not None, "the second ends")
        feed.go_on(300)
    assert second.poll() == 1
    assert SENTENCE in one.logs[1].read_text()
    assert "LIVESEGMENTS_INSTANCE_ID" in one.logs[1].read_text()
    one.wait()
    assert first.poll() is None
    assert "failed" not in one.logs[0].read_text()
    one.verified()


def test_of_two_that_start_together_one_stays(
    one: Service, make_load: Callable[..., list[Event]]
) -> None:
    workers = [one.start(), one.start()]
    one.send(make_load(2_000))
    one.wait_for(lambda: any(worker.poll() is not None for worker in workers), "one of them ends")
    one.wait()
    assert sorted(str(worker.poll()) for worker in workers) == ["1", "None"]
    one.verified()


def test_restarts_and_workers_with_other_ids_go_on(
    one: Service, make_load: Callable[..., list[Event]]
) -> None:
    other = one.start(INSTANCE_ID="two")
    worker = one.start()
    with Feed(one, make_load) as feed:
        one.wait_for(lambda: one.has_model(), "the model is known")
        worker.kill()  # its session lives on for seconds
        worker.wait()
        worker = one.start()
        one.wait_for(lambda: not one.missing(), "the worker is back")
        worker.terminate()
        worker.wait()
        worker = one.start()
        feed.go_on(500)
        one.wait_for(lambda: not one.missing(), "the worker is back again")
    one.wait()
    assert [other.poll(), worker.poll()] == [None, None]
    one.verified()
