"""Latency from an event to the change it causes, for a read_committed subscriber at steady rates.

An event's id is the time it was due. A change names the event that caused it, so its latency can be
computed from the change alone; a sender that falls behind makes latencies longer, not fewer.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import datetime
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from confluent_kafka import Consumer, Message, Producer
from kafka import KafkaProducer, TopicPartition
from kafka.structs import ConsumerGroupMetadata, OffsetAndMetadata
from numpy.typing import NDArray

from bench.counters import Counted, counted_by
from bench.report import Table
from bench.throughput import GROUP, PARTITIONS
from livesegments.contracts.timestamps import rfc3339
from livesegments.contracts.topics import CHANGES, PURCHASES, STATES
from livesegments.local_servers import free_ports
from livesegments.producers.publisher import RETRY_MS
from tests.servers import KafkaServer, RedisServer, fresh_topics

RATES, SECONDS = (100, 1_000, 5_000), 20.0
GOAL_RATE, GOAL_P50_MS, GOAL_P99_MS = 1_000, 60.0, 250.0
CUSTOMERS, HISTORY, HISTORY_DAYS = 20_000, 60_000, 80
BEFORE_SECONDS = 5.0
"""Warm-up seconds at each rate, excluded from the results."""
TICK_SECONDS = 0.002
QUIET_SECONDS, WAIT_SECONDS = 3.0, 300.0
LIVE = "live-"
TRANSACTIONS, TRANSACTIONS_BEFORE, RECORD_BYTES = 250, 50, 700
STAGES = ("poll", "decode", "read", "assign", "commit", "publish")

Micros = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Seen:
    """A change caused by a live event: microseconds since the epoch of each step."""

    due: int
    decided: int
    sent: int
    """To Kafka, inside a transaction; Kafka keeps milliseconds."""
    seen: int

    @classmethod
    def of(cls, value: bytes, sent_ms: int, seen: int) -> "Seen | None":
        """Parse a record of the change log; None if it was not caused by a live event."""
        change = json.loads(value)
        event_id = str((change["cause"] or {}).get("event_id"))
        if not event_id.startswith(LIVE):
            return None
        decided = datetime.fromisoformat(change["decided_at"]).timestamp()
        due = int(event_id.removeprefix(LIVE).partition("-")[0])
        return cls(due, round(decided * 1e6), sent_ms * 1_000, seen)


def purchases(n: int, ids: Sequence[str], times_us: Micros, seed: int) -> list[tuple[bytes, bytes]]:
    """Return purchases of skewed customers: (key, value)."""
    rng = np.random.default_rng(seed)
    customers = (CUSTOMERS * rng.random(n) ** 2).astype(int).tolist()
    cents = rng.integers(100, 20_000, n).tolist()
    return [
        (
            b"customer-%06d" % customer,
            f'{{"event_id":"{name}","customer_id":"customer-{customer:06d}",'
            f'"occurred_at":"{at}","kind":"purchase","amount":{cent // 100}.{cent % 100:02d},'
            f'"currency":"USD","items":3,"category":"groceries"}}'.encode(),
        )
        for customer, cent, name, at in zip(customers, cents, ids, rfc3339(times_us), strict=True)
    ]


def send_history(bootstrap: str) -> None:
    """Send the purchase history: nearly a window of it, up to now."""
    now_us = time.time_ns() // 1_000
    times_us = np.linspace(now_us - HISTORY_DAYS * 86_400_000_000, now_us, HISTORY).astype(np.int64)
    producer = _producer(bootstrap)
    for key, value in purchases(HISTORY, [f"h{i}" for i in range(HISTORY)], times_us, seed=0):
        producer.produce(PURCHASES, value, key)
        producer.poll(0)
    producer.flush()


def send_steadily(bootstrap: str, rate: int, first_us: int, seconds: float) -> None:
    """Send purchases at a fixed rate, each when it is due."""
    n = round(rate * seconds)
    due_us = first_us + (np.arange(n) * 1e6 / rate).astype(np.int64)
    ids = [f"{LIVE}{at}-{i}" for i, at in enumerate(due_us.tolist())]
    events, sent = purchases(n, ids, due_us, seed=rate), 0
    producer = _producer(bootstrap)
    producer.list_topics(PURCHASES, 10)
    while sent < n:
        now_due = int(np.searchsorted(due_us, time.time_ns() // 1_000, "right"))
        for key, value in events[sent:now_due]:
            producer.produce(PURCHASES, value, key)
        sent = max(sent, now_due)
        producer.poll(0)
        time.sleep(TICK_SECONDS)
    producer.flush()


def _producer(bootstrap: str) -> Producer:
    # Partitioned as by every other client, without batching delay.
    return Producer(
        {
            "bootstrap.servers": bootstrap,
            "partitioner": "murmur2_random",
            "linger.ms": 0,
            "queue.buffering.max.messages": 1_000_000,
        }
    )


class Subscriber:
    """Reads the change log with read_committed and records when each change became visible."""

    def __init__(self, bootstrap: str) -> None:
        self._consumer = Consumer(
            {
                "bootstrap.servers": bootstrap,
                "group.id": "subscriber",
                "isolation.level": "read_committed",
                "auto.offset.reset": "earliest",
            }
        )
        self._consumer.subscribe([CHANGES])
        self._read: list[tuple[Message, int]] = []

    def read_until(self, deadline: float) -> None:
        """Read until a deadline (monotonic)."""
        while time.monotonic() < deadline:
            self._read_one()

    def read_until_quiet(self, done: Callable[[], bool]) -> None:
        """Read until no change has arrived for some seconds and all input is processed.

        Raises
        ------
        RuntimeError
            If that does not happen in time.
        """
        began = last = time.monotonic()
        while time.monotonic() - last < QUIET_SECONDS or not done():
            if time.monotonic() - began > WAIT_SECONDS:
                raise RuntimeError(f"the worker is not done after {WAIT_SECONDS:.0f} s")
            if self._read_one():
                last = time.monotonic()

    def _read_one(self) -> bool:
        message = self._consumer.poll(0.1)
        if message is None or message.error() is not None:
            return False
        self._read.append((message, time.time_ns() // 1_000))
        return True

    def read_next(self) -> int:
        """Wait for the next record; return when it was read, microseconds since the epoch."""
        while not self._read_one():
            pass
        return self._read.pop()[1]

    def taken(self) -> list[Seen]:
        """Return the changes caused by live events and read since the last call."""
        read, self._read = self._read, []
        found = [Seen.of(m.value() or b"", m.timestamp()[1], at) for m, at in read]
        return [each for each in found if each is not None]

    def close(self) -> None:
        """Close the consumer."""
        self._consumer.close()


@contextmanager
def _worker(kafka: KafkaServer, store: RedisServer, port: int) -> Iterator[None]:
    environment = {
        **os.environ,
        "LIVESEGMENTS_KAFKA_BOOTSTRAP_SERVERS": kafka.bootstrap,
        "LIVESEGMENTS_REDIS_URL": store.url,
        "LIVESEGMENTS_GROUP_ID": GROUP,
        "LIVESEGMENTS_HTTP_PORT": str(port),
        "LIVESEGMENTS_LOG_LEVEL": "warning",
    }
    worker = subprocess.Popen([sys.executable, "-m", "livesegments.cli", "run"], env=environment)
    try:
        yield
        if worker.poll() is not None:
            raise RuntimeError("the worker ended while it was measured")
    finally:
        worker.terminate()
        worker.wait()


def measure(
    bootstrap: str, port: int, subscriber: Subscriber, rate: int, seconds: float
) -> tuple[list[Seen], Counted]:
    """Return the changes caused by events at one rate, and the worker's counters meanwhile."""
    all_records = counted_by(port).records + round(rate * (BEFORE_SECONDS + seconds))
    began, first_us = time.monotonic() + 2.0, time.time_ns() // 1_000 + 2_000_000
    arguments = (bootstrap, rate, first_us, BEFORE_SECONDS + seconds)
    sender = get_context("spawn").Process(target=send_steadily, args=arguments)
    sender.start()
    subscriber.read_until(began + BEFORE_SECONDS)
    before = counted_by(port)
    subscriber.read_until(began + BEFORE_SECONDS + seconds)
    counted = counted_by(port).since(before)
    subscriber.read_until_quiet(lambda: counted_by(port).records >= all_records)
    sender.join()
    from_us = first_us + BEFORE_SECONDS * 1e6
    return [each for each in subscriber.taken() if each.due >= from_us], counted


def transactions_alone(bootstrap: str) -> list[float]:
    """Return the percentiles of transactions of kafka-python alone, one after another.

    Each has a change, a state and an offset, as a worker's smallest has. Its time is from its begin
    until a subscriber reads the change.
    """
    producer = KafkaProducer(
        bootstrap_servers=bootstrap,
        transactional_id="alone",
        linger_ms=1_000,
        retry_backoff_ms=RETRY_MS,
    )
    producer.init_transactions()
    ways = []
    with closing(producer), closing(Subscriber(bootstrap)) as subscriber:
        for n in range(TRANSACTIONS):
            began = time.time_ns() // 1_000
            producer.begin_transaction()
            for topic in (CHANGES, STATES):
                producer.send(topic, key=b"customer", value=bytes(RECORD_BYTES), partition=0)
            producer.flush()
            offsets = {TopicPartition(PURCHASES, 0): OffsetAndMetadata(n, "", -1)}
            producer.send_offsets_to_transaction(offsets, ConsumerGroupMetadata("alone"))
            producer.commit_transaction()
            ways.append(subscriber.read_next() - began)
    return _percentiles(ways[TRANSACTIONS_BEFORE:])


def percentiles(changes: Sequence[Seen], start: str = "due", end: str = "seen") -> list[float]:
    """Return p50, p95, p99 and maximum of the time between two steps, in ms."""
    return _percentiles([getattr(each, end) - getattr(each, start) for each in changes])


def _percentiles(micros: Sequence[int]) -> list[float]:
    return [float(p) / 1_000 for p in np.percentile(micros, (50, 95, 99, 100))]


def run(rates: Sequence[int] = RATES, seconds: float = SECONDS) -> Table:
    """Measure one worker at each rate, one after another."""
    table = Table(
        f"Latency: event to change seen by a read_committed subscriber, ms; {seconds:g} s each,"
        f" {CUSTOMERS:,} skewed customers, {PARTITIONS} partitions, Apache Kafka and Redis",
        ("events/s", "p50", "p95", "p99", "longest", "changes", "events a round"),
    )
    steps = Table(
        "Latency: where it goes, ms, p50 and p99; and the worker's share of time in each stage",
        ("events/s", "to decision", "to sending", "to sight", *STAGES),
    )
    table.more.append(steps)
    [port] = free_ports(1)
    with tempfile.TemporaryDirectory() as folder:
        where = Path(folder)
        with (
            KafkaServer(where / "kafka", measured=True) as kafka,
            RedisServer(where / "redis") as store,
        ):
            fresh_topics(kafka.bootstrap, PARTITIONS)
            p50, _, p99, _ = transactions_alone(kafka.bootstrap)
            table.note(
                f"a transaction of kafka-python alone, on the idle broker: p50 {p50:.0f} ms, p99"
                f" {p99:.0f} ms from its begin until a subscriber reads it"
            )
            fresh_topics(kafka.bootstrap, PARTITIONS)
            send_history(kafka.bootstrap)
            with (
                _worker(kafka, store, port),
                closing(Subscriber(kafka.bootstrap)) as subscriber,
            ):
                subscriber.read_until_quiet(lambda: counted_by(port).records >= HISTORY)
                for rate in rates:
                    changes, counted = measure(kafka.bootstrap, port, subscriber, rate, seconds)
                    _report(table, steps, rate, seconds, changes, counted)
    table.note("from when an event was due to be sent; events that change nothing do not count")
    return table


def _report(
    table: Table, steps: Table, rate: int, seconds: float, changes: list[Seen], counted: Counted
) -> None:
    figures = percentiles(changes)
    table.add(
        f"{rate:,}",
        *(f"{each:.0f}" for each in figures),
        f"{len(changes):,}",
        f"{counted.records / max(1, counted.rounds):.0f}",
    )
    if rate == GOAL_RATE:
        table.goal(f"p50 < {GOAL_P50_MS:.0f} ms at {rate:,}/s", figures[0] < GOAL_P50_MS)
        table.goal(f"p99 < {GOAL_P99_MS:.0f} ms at {rate:,}/s", figures[2] < GOAL_P99_MS)
    ways = [("due", "decided"), ("decided", "sent"), ("sent", "seen")]
    found = [percentiles(changes, *way) for way in ways]
    steps.add(
        f"{rate:,}",
        *(f"{p50:.0f} / {p99:.0f}" for p50, _, p99, _ in found),
        *(f"{counted.stages[stage] / seconds:.0%}" for stage in STAGES),
    )
