"""Dead letters on the command line: their listing, and no replay sends one twice."""

import json
import signal
import sys
import time
from collections import Counter
from datetime import UTC, datetime, timedelta
from urllib.request import urlopen

import pytest
from kafka import KafkaProducer
from kafka.admin import KafkaAdminClient

from livesegments.consumers.worker import REPORT_SECONDS
from livesegments.contracts import dead_letters
from livesegments.contracts.dead_letter_replays import DeadLetterReplay
from livesegments.contracts.dead_letters import Reason
from livesegments.contracts.partitioning import Partitioning
from livesegments.contracts.topics import DEAD_LETTERS, PROFILES, PURCHASES, REPLAYS
from livesegments.operations.dead_letters import DeadLettersError, Selection, letters
from livesegments.operations.dead_letters_replay import Rules, rehearse, replay
from tests import processes
from tests.service import PARTITIONS, Service, profile, purchase, running

COMMAND = [sys.executable, "-m", "livesegments.cli", "dead-letters"]
ALL = Selection()
CRASHING = [sys.executable, "-m", "tests.livesegments.crashing_replay"]


def livesegments(service: Service, *arguments: str) -> str:
    done = service.command("dead-letters", *arguments)
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    return done.stdout


Origin = tuple[int, bytes | None, bytes | None, tuple[tuple[str, bytes], ...]]


def put_letters(service: Service, count: int) -> list[Origin]:
    """Produce dead letters whose records have become valid; return the expected replay."""
    producer = KafkaProducer(**service.config, linger_ms=10)
    origins = []
    for i in range(count):
        customer = f"c{i % 50}"
        _, key, value = purchase(customer, "2024-01-02T10:00:00Z", event_id=f"e{i}")
        headers = [("trace", b"%d" % i), ("empty", b""), ("trace", b"again")]
        there = Partitioning("murmur2", PARTITIONS).of_customer(customer)
        producer.send(
            DEAD_LETTERS,
            key=key,
            value=value,
            partition=(there + 1) % PARTITIONS,  # marks use the letter's, records their own
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


def lag(service: Service) -> float:
    """Return the number of input records that a worker reports as lag."""
    started = service.logs[0].read_text().splitlines()[0]
    with urlopen(f"http://127.0.0.1:{json.loads(started)['port']}/metrics") as page:
        lines = page.read().decode().splitlines()
    of_topics = [x for x in lines if x.startswith("livesegments_consumer_lag_records{")]
    assert of_topics
    return sum(float(line.rsplit(" ", 1)[1]) for line in of_topics)


def arrived(service: Service) -> list[Origin]:
    return [(r.partition, r.key, r.value, tuple(r.headers)) for r in service.records(PURCHASES)]


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
    rest = replay(service.config, ALL, Rules("USD"))
    assert 0 < rest.sent["future_dated"] < 2_300
    assert rest.sent_before["future_dated"] + rest.sent["future_dated"] == 2_300
    assert Counter(arrived(service)) == Counter(wanted)
    marks = Counter(
        DeadLetterReplay.model_validate_json(record.value).place
        for record in service.records(REPLAYS)
    )
    assert marks == Counter(
        (r.partition, r.offset, r.timestamp) for r in service.records(DEAD_LETTERS)
    )
    assert replay(service.config, ALL, Rules("USD")).sent.total() == 0
    assert len(arrived(service)) == 2_300


@pytest.mark.servers
@pytest.mark.timeout(300)
def test_two_replays_at_once_send_nothing_twice(service: Service) -> None:
    wanted = put_letters(service, 3_000)
    both = [service.launch([*COMMAND, "replay"]) for _ in range(2)]
    assert 0 in {each.wait(100) for each in both}, service.tail()
    assert Counter(arrived(service)) == Counter(wanted)


@pytest.mark.servers
def test_only_what_was_chosen_is_sent(service: Service) -> None:
    wanted = put_letters(service, 12)
    letter = service.records(DEAD_LETTERS)[4]
    place = ["--partition", str(letter.partition), "--offset", str(letter.offset)]
    assert "would send 1 (1 future_dated)" in livesegments(service, "replay", *place, "--dry-run")
    assert arrived(service) == []
    assert "sent 1 (1 future_dated)" in livesegments(service, "replay", *place)
    [sent] = arrived(service)
    assert sent in wanted
    assert sent[2] == letter.value
    tomorrow = datetime.now(UTC) + timedelta(days=1)
    for none in (
        Selection(reason="not_json"),
        Selection(topic=PROFILES),
        Selection(since=tomorrow),
    ):
        assert replay(service.config, none, Rules("USD")).sent.total() == 0
    yesterday = datetime.now(UTC) - timedelta(days=1)
    rest = replay(service.config, Selection("future_dated", PURCHASES, yesterday), Rules("USD"))
    assert (rest.sent.total(), rest.sent_before.total()) == (11, 1)


@pytest.mark.servers
def test_a_profile_is_never_sent_again_over_a_later_one(service: Service) -> None:
    refused = profile("c1", "2024-01-02T00:00:00Z", consent={"profiling": False})
    service.send([profile("c1", "2024-01-01T00:00:00Z", age=30), refused])
    there = service.records(PROFILES)
    producer = KafkaProducer(**service.config)
    for key in (b"c1", b"c2"):
        _, _, value = profile(key.decode(), "2024-01-03T00:00:00Z", age=40)
        headers = dead_letters.headers(
            [],
            topic=PROFILES,
            partition=there[0].partition,
            offset=there[0].offset,
            timestamp_ms=1_700_000_000_000,
            reason=Reason.FUTURE_DATED,
            message="updated_at: ahead",
        )
        producer.send(DEAD_LETTERS, key=key, value=value, partition=0, headers=headers)
    producer.flush(30)
    producer.close()
    done = replay(service.config, ALL, Rules("USD", refused_too=True))
    assert (done.sent.total(), done.refused_again.total()) == (1, 1)
    assert list(done.refusals) == ["superseded: a later profile of its key is there"]
    assert [record.key for record in service.records(PROFILES)].count(b"c1") == len(there) == 2


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
        while datetime.now(UTC) < soon - timedelta(minutes=4, seconds=59):
            time.sleep(0.5)
        folded = service.folded()
        rehearsed = rehearse(service.config, ALL, Rules("USD"))
        done = replay(service.config, ALL, Rules("USD"))
        assert done == rehearsed
        assert done.sent == {"future_dated": 3}
        refused = {"not_json", "bad_currency", "schema_invalid", "key_mismatch"}
        assert done.refused_again == dict.fromkeys(refused, 1)
        assert {why.split(": ")[0] for why in done.refusals} == refused

        service.wait_for(lambda: service.folded() >= folded + 3, "the records are folded")
        time.sleep(REPORT_SECONDS + 1)  # otherwise it reports the earlier value
        service.wait_for(lambda: lag(service) == 0, "the marker of the transaction is no lag")
        assert replay(service.config, ALL, Rules("USD")).sent.total() == 0

        euros = Selection(reason="bad_currency")
        assert replay(service.config, euros, Rules("USD", refused_too=True)).sent.total() == 1
        service.wait()
        assert [each.replayed_at is None for each in letters(service.config, euros)] == [
            False,
            True,
        ]
        service.verified()


@pytest.mark.servers
def test_dead_letters_are_listed_without_what_customers_own(service: Service) -> None:
    with running(service):
        service.send(
            [
                (PURCHASES, b"c1", b"{secret"),
                (PURCHASES, b"c1", b"{secret too"),
                profile("c2", "2024-01-02T00:00:00Z", age=-1),
            ]
        )
        service.wait()
    listed = json.loads(livesegments(service, "list", "--json", "--limit", "2"))
    assert listed["reasons"] == {
        "not_json": {"letters": 2, "replayed": 0},
        "schema_invalid": {"letters": 1, "replayed": 0},
    }
    assert len(listed["letters"]) == 2
    shown = livesegments(service, "list")
    assert shown.splitlines()[1].split() == ["not_json", "2", "0"]
    assert len(shown.splitlines()) == 4 + 3
    assert "secret" not in shown
    assert "c1: {secret too" in livesegments(service, "list", "--values", "--reason", "not_json")

    [bad] = letters(service.config, Selection(topic=PROFILES))
    place = str(bad.place.partition), str(bad.place.offset)
    one = json.loads(livesegments(service, "show", *place, "--json"))
    assert one["now"].startswith("schema_invalid: age: ")
    assert not {"key", "value", "headers"} & set(one)
    assert '"age": -1' in livesegments(service, "show", *place, "--values")


@pytest.mark.servers
def test_where_the_topic_of_the_marks_is_missing_nothing_is_sent(service: Service) -> None:
    put_letters(service, 4)
    with KafkaAdminClient(**service.config) as admin:
        admin.delete_topics([REPLAYS])
    assert len(list(letters(service.config, ALL))) == 4
    with pytest.raises(DeadLettersError, match=r"no topic .*replays.*: livesegments topics create"):
        replay(service.config, ALL, Rules("USD"))
    assert arrived(service) == []


@pytest.mark.servers
def test_what_came_from_no_input_is_told_and_never_sent(service: Service) -> None:
    put_letters(service, 1)
    producer = KafkaProducer(**service.config)
    origin = dead_letters.headers(
        [],
        topic="orders",
        partition=0,
        offset=0,
        timestamp_ms=1_700_000_000_000,
        reason=Reason.NOT_JSON,
        message="no JSON",
    )
    place = producer.send(DEAD_LETTERS, key=b"c", value=b"{}", partition=2, headers=origin).get(30)
    producer.send(REPLAYS, key=b"2/0", value=None, partition=2).get(30)
    producer.close()
    shown = livesegments(service, "show", "2", str(place.offset))
    assert "from topic 'orders', which is no input" in shown
    told = livesegments(service, "replay", "--refused-too")
    assert "sent 1 (1 future_dated)" in told
    assert "1  from topic 'orders', which is no input" in told


def test_no_dead_letter_there_is_told(service: Service) -> None:
    shown = livesegments(service, "list").splitlines()
    assert shown[-1].split() == ["all", "0", "0"]
    for place, told in (
        (("1", "5"), "no dead letter at partition 1"),
        (("99", "0"), "no partition 99"),
    ):
        done = service.command("dead-letters", "show", *place)
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
    done = processes.run([*COMMAND, *arguments], timeout=60)
    assert done.returncode == 2
    assert told in done.stderr
