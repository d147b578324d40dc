"""The live view of a running deployment shows its actual state, through outages too."""

import json
import signal
import subprocess
import sys
import time
from collections import Counter

import pytest
from kafka.admin import KafkaAdminClient

from livesegments.analysis.watch import pollers, polling_thread
from livesegments.analysis.watch.pollers import ChangesTail, poll_group, poll_topics
from livesegments.analysis.watch.session import WatchSession
from livesegments.config.settings import Settings
from livesegments.contracts.topics import CHANGES
from tests.segmentations import PERSONAS
from tests.service import PARTITIONS, Event, Service, numbers, profile, purchase

pytestmark = pytest.mark.servers

PEOPLE = 90


def shopping(days: range) -> list[Event]:
    """Purchases of customers who differ in how often and for how much they buy."""
    return [
        purchase(f"c{i:02d}", f"2024-01-{day:02d}T10:00:00Z", 5.0 + 11 * (i % 9))
        for i in range(PEOPLE)
        for day in days
        if day % (1 + i % 5) == 0
    ]


@pytest.fixture
def modelled(service: Service) -> Service:
    """Two workers, a model, and some customers that moved."""
    service.start()
    service.start()
    service.send(
        profile(f"c{i:02d}", "2024-01-01T00:00:00Z", age=20 + i % 60, income=9_000 + 1_500 * i)
        for i in range(PEOPLE)
    )
    service.send(shopping(range(2, 20)))
    service.wait_for(service.has_model, "everyone is scored")
    service.send([profile("c01", "2024-01-05T00:00:00Z", consent={"profiling": False})])
    service.wait()
    return service


def settings(service: Service) -> Settings:
    return Settings(
        kafka_bootstrap_servers=service.kafka.bootstrap, redis_url=service.redis_server.url
    )


def command(service: Service, *arguments: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-m", "livesegments.cli", "watch", *arguments],
        env=service.full_environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def published(service: Service) -> Counter[tuple[str | None, str | None]]:
    changes = service.changes()
    return Counter(
        (
            change.previous_segment.id if change.previous_segment else None,
            change.segment.id if change.segment else None,
        )
        for change in changes
    )


def test_what_is_seen_is_what_is_there(modelled: Service) -> None:
    out, err = command(modelled, "--json", "--limit", "1").communicate(timeout=100)
    assert err == ""
    [seen] = [json.loads(each) for each in out.splitlines()]
    assert seen["troubles"] == []
    assert (seen["workers"], seen["lag"], seen["recovering"]) == (2, 0, 0)
    assert seen["records"] == PEOPLE
    assert sum(each["customers"] for each in seen["segments"]) == PEOPLE - 1
    assert sum(each["share"] for each in seen["segments"]) == pytest.approx(1, abs=1e-3)
    hour = {(each["from"], each["to"]): each["changes"] for each in seen["changes"]["last_hour"]}
    assert hour == published(modelled)
    assert seen["changes"]["since_start"] == []
    stored = numbers(modelled.client.hgetall("livesegments:{0}:progress"))
    assert seen["model"]["generation"] == stored["generation"]
    assert 0 < seen["model"]["explained_variance"] < 1

    with KafkaAdminClient(**modelled.config) as admin:
        groups = json.dumps(admin.list_groups(), default=str)
    assert groups.count("livesegments") == 1


def test_each_change_counts_once_though_kafka_or_redis_were_away(
    modelled: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(polling_thread, "HANGS_SECONDS", 2.0)
    before = published(modelled)

    def troubles() -> str:
        return " ".join(watch.snapshot().troubles)

    with WatchSession(settings(modelled)) as watch:
        watch.wait_for_first_poll(30)
        modelled.redis_server.pause()
        modelled.wait_for(lambda: "Redis" in troubles(), "Redis is reported as unavailable")
        assert sum(row.customers for row in watch.snapshot().segments) == PEOPLE - 1
        modelled.redis_server.resume()
        modelled.wait_for(lambda: "Redis" not in troubles(), "Redis is back")
        modelled.kafka.pause()
        modelled.wait_for(lambda: "Kafka" in troubles(), "Kafka is reported as unavailable")
        modelled.kafka.resume()
        modelled.wait_for(lambda: not troubles(), "Kafka is back")
        for day, income in ((6, 200_000), (7, 9_000)):
            modelled.send(
                profile(f"c{i:02d}", f"2024-01-{day:02d}T00:00:00Z", age=30, income=income)
                for i in range(2, 40)
            )
            modelled.wait()

        def all_are_counted() -> bool:
            # The next generation may still add moves during the test.
            made, moves = published(modelled) - before, watch.snapshot().moves
            return made.total() > 10 and moves is not None and moves.since_start == made

        modelled.wait_for(all_are_counted, "all changes are seen")
        time.sleep(1)
        modelled.wait_for(all_are_counted, "none is seen twice")


def test_a_reader_that_is_too_far_behind_leaves_some_out_and_says_so(
    modelled: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pollers, "FIRST_CHANGES", PARTITIONS)
    tail = ChangesTail(time.time())
    poller = poll_topics(modelled.config, PERSONAS, tail)
    seen = next(poller)
    poller.close()
    assert sum(seen["moves"].last_hour.values()) <= PARTITIONS
    assert seen["moves"].since_s > time.time() - 3_000, "not the whole hour"
    assert seen["generation"] is not None

    monkeypatch.setattr(pollers, "MOST_BEHIND", 5)
    monkeypatch.setattr(pollers, "MOST_POLLED", 1)
    tail.positions = dict.fromkeys(tail.positions, 0)
    poller = poll_topics(modelled.config, PERSONAS, tail)
    modelled.wait_for(lambda: next(poller)["moves"].skipped, "some are left out")
    poller.close()


def test_a_topic_that_is_missing_is_told_and_not_the_end(service: Service) -> None:
    with KafkaAdminClient(**service.config) as admin:
        admin.delete_topics([CHANGES])
    with WatchSession(settings(service)) as watch:
        watch.wait_for_first_poll(30)
        service.wait_for(
            lambda: any("topics create" in each for each in watch.snapshot().troubles),
            "the missing topic is reported",
        )
        assert any("no worker has ever run" in each for each in watch.snapshot().troubles)
        # Workers of earlier tests were killed, and their sessions expire only now.
        service.wait_for(lambda: watch.snapshot().workers == 0, "no worker is seen")


def test_lag_is_what_workers_have_not_committed(service: Service) -> None:
    service.send(shopping(range(2, 8)))
    poller = poll_group(service.config, "livesegments")
    seen = next(poller)
    poller.close()
    assert seen == {"workers": 0, "lag": len(shopping(range(2, 8)))}


@pytest.mark.parametrize("arguments", [["--plain"], []], ids=["plain", "no terminal"])
def test_ctrl_c_ends_it_quietly_with_130(service: Service, arguments: list[str]) -> None:
    watching = command(service, *arguments, "--interval", "0.5")
    assert watching.stdout is not None
    first = watching.stdout.readline()
    assert "no segments yet" in first
    watching.send_signal(signal.SIGINT)
    _, err = watching.communicate(timeout=30)
    assert (watching.returncode, err) == (130, "")


def test_a_broker_that_is_not_there_at_the_start_ends_it_with_1(service: Service) -> None:
    service.environment["LIVESEGMENTS_KAFKA_BOOTSTRAP_SERVERS"] = "127.0.0.1:1"
    watching = command(service, "--limit", "1")
    _, err = watching.communicate(timeout=60)
    assert watching.returncode == 1
    assert "LIVESEGMENTS_KAFKA_BOOTSTRAP_SERVERS" in err
