"""Dead letters at the command line: what they tell, and that none is sent again twice."""

import json
import signal
import subprocess
import sys
import time
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from kafka import KafkaProducer
from kafka.consumer.fetcher import ConsumerRecord

from contracts import dead_letters
from contracts.dead_letters import Reason
from contracts.replays import DeadLetterReplay
from contracts.topics import DEAD_LETTERS, PROFILES, PURCHASES, REPLAYS
from livesegments.verify.kafka_log import Log
from tests.service import PARTITIONS, Service, profile, purchase, running

COMMAND = [sys.executable, "-m", "livesegments.cli", "dead-letters"]
CRASHING = [sys.executable, "-m", "tests.livesegments.crashing_replay"]


def livesegments(service: Service, *arguments: str) -> str:
    done = subprocess.run(
        [*COMMAND, *arguments],
        env=service.full_environment(),
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    return done.stdout


def as_json(service: Service, *arguments: str) -> Any:
    return json.loads(livesegments(service, *arguments, "--json"))


def on(service: Service, topic: str) -> list[ConsumerRecord]:
    log = Log(service.config)
    try:
        return [record for p in range(PARTITIONS) for record in log.read(topic, p)]
    finally:
        log.close()


Origin = tuple[int, bytes | None, bytes | None, tuple[tuple[str, bytes], ...]]


def put_letters(service: Service, count: int) -> list[Origin]:
    """Put dead letters there whose records are valid by now; return what a replay must send."""
    producer = KafkaProducer(**service.config, linger_ms=10)
    origins = []
    for i in range(count):
        _, key, value = purchase(f"c{i % 50}", "2024-01-02T10:00:00Z", event_id=f"e{i}")
        headers = [("trace", b"%d" % i), ("empty", b""), ("trace", b"again")]
        there = i % PARTITIONS
        producer.send(
            DEAD_LETTERS,
            key=key,
            value=value,
            partition=(there + 1) % PARTITIONS,  # marks go by the letter's, records by their own
            headers=dead_letters.headers(
                headers,
                topic=PURCHASES,
                partition=there,
                offset=i,
                timestamp_ms=1_700_000_000_000,
                reason=Reason.FUTURE_DATED,
                message="occurred_at: ahead",
            ),
        )
        origins.append((there, key, value, tuple(headers)))
    producer.flush(30)
    producer.close()
    return origins


def arrived(service: Service) -> list[Origin]:
    return [(r.partition, r.key, r.value, tuple(r.headers)) for r in on(service, PURCHASES)]


@pytest.mark.servers
@pytest.mark.timeout(300)
def test_a_replay_killed_at_any_point_loses_and_repeats_nothing(service: Service) -> None:
    wanted = put_letters(service, 2_300)
    for point, call in (
        ("records sent", 2),
        ("transaction committed", 1),
        ("transaction begun", 3),
    ):
        victim = service.launch([*CRASHING, point, str(call)])
        assert victim.wait(60) == -signal.SIGKILL, f"{point}:\n{service.tail()}"
    rest = as_json(service, "replay")
    assert 0 < rest["sent"]["future_dated"] < 2_300
    assert rest["sent_before"]["future_dated"] + rest["sent"]["future_dated"] == 2_300
    assert Counter(arrived(service)) == Counter(wanted)
    marks = Counter(
        DeadLetterReplay.model_validate_json(record.value).place for record in on(service, REPLAYS)
    )
    assert marks == Counter((r.partition, r.offset, r.timestamp) for r in on(service, DEAD_LETTERS))
    assert as_json(service, "replay")["sent"] == {}
    assert len(arrived(service)) == 2_300


@pytest.mark.servers
@pytest.mark.timeout(300)
def test_two_replays_at_once_send_nothing_twice(service: Service) -> None:
    wanted = put_letters(service, 3_000)
    both = [service.launch([*COMMAND, "replay"]) for _ in range(2)]
    assert 0 in {each.wait(100) for each in both}, service.tail()
    assert Counter(arrived(service)) == Counter(wanted)


@pytest.mark.servers
def test_of_one_place_only_that_letter_is_sent(service: Service) -> None:
    wanted = put_letters(service, 12)
    letter = on(service, DEAD_LETTERS)[4]
    place = ["--partition", str(letter.partition), "--offset", str(letter.offset)]
    assert "would send 1 (1 future_dated)" in livesegments(service, "replay", *place, "--dry-run")
    assert arrived(service) == []
    assert "sent 1 (1 future_dated)" in livesegments(service, "replay", *place)
    [sent] = arrived(service)
    assert sent in wanted
    assert sent[2] == letter.value
    since = ["--since", "30m"]
    assert as_json(service, "replay", *since, "--reason", "not_json")["sent"] == {}
    tomorrow = (datetime.now(UTC) + timedelta(days=1)).isoformat()
    assert as_json(service, "replay", "--since", tomorrow)["sent"] == {}
    assert as_json(service, "replay", *since)["sent"] == {"future_dated": 11}


@pytest.mark.servers
def test_what_was_refused_counts_once_its_day_has_come(service: Service) -> None:
    soon = datetime.now(UTC) + timedelta(minutes=5, seconds=6)
    today = datetime.now(UTC).date().isoformat()
    with running(service):
        service.send(
            [
                purchase("c1", f"{today}T00:00:00Z", 1.0),
                *(purchase("c1", soon.isoformat(), 2.0 + i, event_id=f"soon{i}") for i in range(3)),
                (PURCHASES, b"c1", b"{secret"),
                purchase("c1", f"{today}T00:00:00Z", event_id="e", currency="EUR"),
                profile("c2", f"{today}T00:00:00Z", age=-1),
                (PROFILES, b"other", profile("c3", f"{today}T00:00:00Z")[2]),
            ]
        )
        service.wait()
        listed = as_json(service, "list")
        assert {name: each["letters"] for name, each in listed["reasons"].items()} == {
            "future_dated": 3,
            "not_json": 1,
            "bad_currency": 1,
            "schema_invalid": 1,
            "key_mismatch": 1,
        }
        shown = livesegments(service, "list")
        assert "future_dated" in shown
        assert "secret" not in shown
        assert "secret" in livesegments(service, "list", "--values", "--reason", "not_json")
        assert len(as_json(service, "list", "--limit", "2")["letters"]) == 2
        assert len(as_json(service, "list", "--topic", PROFILES)["letters"]) == 2

        [bad] = as_json(service, "list", "--reason", "schema_invalid")["letters"]
        place = str(bad["partition"]), str(bad["offset"])
        one = as_json(service, "show", *place)
        assert one["now"].startswith("schema_invalid: age: ")
        assert "value" not in one
        assert json.loads(as_json(service, "show", *place, "--values")["value"])["age"] == -1

        while datetime.now(UTC) < soon - timedelta(minutes=4, seconds=59):
            time.sleep(0.5)
        rehearsed = as_json(service, "replay", "--dry-run")
        done = as_json(service, "replay")
        assert done == rehearsed | {"dry_run": False}
        assert done["sent"] == {"future_dated": 3}
        assert done["refused_again"].keys() == {
            *("not_json", "bad_currency", "schema_invalid", "key_mismatch")
        }
        assert all(why.split(": ")[0] in list(Reason) for why in done["refusals"])
        service.wait()
        listed = as_json(service, "list")
        assert listed["reasons"]["future_dated"] == {"letters": 3, "replayed": 3}
        assert as_json(service, "replay")["sent"] == {}

        forced = as_json(service, "replay", "--reason", "bad_currency", "--refused-too")
        assert forced["sent"] == {"bad_currency": 1}
        service.wait()
        listed = as_json(service, "list")
        assert listed["reasons"]["bad_currency"] == {"letters": 2, "replayed": 1}
        service.verified()


@pytest.mark.servers
def test_no_dead_letter_there_is_told(service: Service) -> None:
    shown = livesegments(service, "list").splitlines()
    assert shown[-1].split() == ["all", "0", "0"]
    for place, told in (
        (("1", "5"), "no dead letter at partition 1"),
        (("99", "0"), "no partition 99"),
    ):
        done = subprocess.run(
            [*COMMAND, "show", *place],
            env=service.full_environment(),
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 1
        assert told in done.stderr


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("list", "--reason", "odd"), "--reason is 'odd'; it can be too_large, "),
        (("list", "--topic", "odd"), "--topic is 'odd'; it can be purchases.v1, "),
        (("list", "--since", "yesterday"), "--since is 'yesterday'; it can be 30m, "),
        (("replay", "--offset", "3"), "--offset needs --partition"),
    ],
)
def test_wrong_use_is_told_with_what_is_right(arguments: tuple[str, ...], told: str) -> None:
    done = subprocess.run(
        [*COMMAND, *arguments], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 2
    assert told in done.stderr
