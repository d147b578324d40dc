"""Workers that leave, crash or return: the guarantees hold after each."""

import random
import re
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from kafka import TopicPartition

from livesegments.contracts.topics import PURCHASES
from tests.faults.crashing_worker import crashing
from tests.sending import Feed
from tests.service import PARTITIONS, Event, Service

pytestmark = pytest.mark.servers

SESSION_SECONDS = 3.0
TRANSACTION_SECONDS = 10.0
TAKEOVER_SECONDS = 15.0


def owns(log: Path) -> list[int]:
    """Return the partitions that a worker owns according to its log."""
    found = re.findall(r'"partitions": \[([\d, ]*)\], "group_generation"', log.read_text())
    return [int(each) for each in found[-1].split(",")] if found and found[-1] else []


def share(service: Service) -> bool:
    """Return whether all workers own partitions, and each partition is owned once."""
    owned = [owns(log) for log in service.logs]
    return all(owned) and sorted(p for each in owned for p in each) == list(range(PARTITIONS))


def test_two_workers_share_and_one_takes_over_when_the_other_leaves(
    service: Service, make_load: Callable[..., list[Event]]
) -> None:
    service.start()
    leaver = service.start()
    service.send(make_load(6_000))
    service.wait_for(lambda: service.folded() > 2_000, "two workers fold")
    leaver.send_signal(signal.SIGTERM)
    assert leaver.wait(15) == 0
    service.send(make_load(1_500, first=6_000))
    service.wait()
    service.verified()


@pytest.mark.parametrize(
    ("point", "seconds"),
    [("transaction committed", SESSION_SECONDS), ("offsets sent", TRANSACTION_SECONDS)],
    ids=["between transactions", "in a transaction"],
)
def test_a_killed_workers_partitions_are_served_again_soon_after_what_it_held_has_timed_out(
    service: Service,
    make_load: Callable[..., list[Event]],
    tmp_path: Path,
    point: str,
    seconds: float,
) -> None:
    now = tmp_path / "now"
    victim = service.launch(crashing(point, 1, file=now))
    service.start()
    with Feed(service, make_load) as feed:
        service.wait_for(lambda: share(service), "both own partitions, and each has one owner")
        feed.go_on(500)
        orphans = [TopicPartition(PURCHASES, p) for p in owns(service.logs[0])]
        assert 0 < len(orphans) < PARTITIONS
        now.touch()
        victim.wait(30)
        killed = time.monotonic()
        ends = service.ends()  # so anything committed beyond was published by the other

        def served() -> bool:
            committed = service.committed()
            return all(committed[tp] > ends[tp] for tp in orphans)

        service.wait_for(served, "they are served again")
        took = time.monotonic() - killed
    assert took < seconds + TAKEOVER_SECONDS, service.tail(60)
    service.wait()
    service.verified()


def test_a_worker_killed_before_its_first_transaction_loses_nothing(
    service: Service, make_load: Callable[..., list[Event]]
) -> None:
    service.send(make_load(3_000))
    first = service.start()
    progress = "livesegments:{0}:progress"
    service.wait_for(lambda: service.client.exists(progress), "first takeover", seconds=20)
    first.kill()
    first.wait()
    service.start()
    service.wait()
    service.verified()


def test_a_paused_worker_that_wakes_up_changes_nothing(
    service: Service, make_load: Callable[..., list[Event]]
) -> None:
    zombie = service.start()
    service.send(make_load(5_000))
    service.wait_for(lambda: service.folded() > 500, "it folds")
    zombie.send_signal(signal.SIGSTOP)
    service.start()
    service.send(make_load(1_500, first=5_000))
    service.wait(60)
    zombie.send_signal(signal.SIGCONT)
    time.sleep(3)
    service.send(make_load(1_000, first=6_500))
    service.wait(60)
    assert zombie.poll() is None
    service.verified()


@pytest.mark.timeout(300)
def test_a_storm_of_workers_that_come_and_go_loses_and_repeats_nothing(
    service: Service, make_load: Callable[..., list[Event]]
) -> None:
    rng = random.Random(7)
    alive = [service.start(), service.start()]
    with Feed(service, make_load) as feed:
        service.wait_for(service.has_model, "the model is known")
        for _ in range(12):
            time.sleep(rng.uniform(0.5, 1.5))
            if len(alive) < 2 or (len(alive) < 4 and rng.random() < 0.5):
                alive.append(service.start())
            else:
                leaver = alive.pop(rng.randrange(len(alive)))
                leaver.send_signal(rng.choice([signal.SIGTERM, signal.SIGKILL]))
        feed.go_on(500)
    service.wait(120)
    assert all(worker.poll() is None for worker in alive)
    # SIGTERM reaches some before they have started; they exit.
    left = {worker.wait(15) for worker in service.workers if worker not in alive}
    assert left <= {0, -signal.SIGTERM, -signal.SIGKILL}, service.tail()
    service.verified()
