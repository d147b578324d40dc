"""From an event to the change it causes, as a read_committed subscriber sees it, at steady rates.

The id of an event is the moment it was due. A change names the event that caused it, so it tells
how long that was ago; a sender that falls behind makes latencies longer, not fewer.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from confluent_kafka import Consumer, Message, Producer
from numpy.typing import NDArray
from prometheus_client.parser import text_string_to_metric_families

from bench.report import Table
from bench.throughput import GROUP, PARTITIONS
from contracts.instants import rfc3339
from contracts.topics import CHANGES, PURCHASES
from livesegments.embedded import LOOPBACK, free_ports
from tests.servers import KafkaServer, RedisServer, fresh_topics

RATES, SECONDS = (100, 1_000, 5_000), 20.0
GOAL_RATE, GOAL_P50_MS, GOAL_P99_MS = 1_000, 60.0, 250.0
CUSTOMERS, HISTORY, HISTORY_DAYS = 20_000, 60_000, 80
BEFORE_SECONDS = 5.0
"""Of each rate, before what counts: connections and caches are warm then."""
TICK_SECONDS = 0.002
QUIET_SECONDS, WAIT_SECONDS = 3.0, 120.0
LIVE = "live-"

Micros = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Seen:
    """A change that a live event caused: microseconds since the epoch of each step to it."""

    due: int
    decided: int
    sent: int
    """To Kafka, inside a transaction; Kafka keeps milliseconds."""
    seen: int

    @classmethod
    def of(cls, value: bytes, sent_ms: int, seen: int) -> "Seen | None":
        """Return what a record of the change log tells, None where no live event is the cause."""
        change = json.loads(value)
        event_id = str((change["cause"] or {}).get("event_id"))
        if not event_id.startswith(LIVE):
            return None
        decided = datetime.fromisoformat(change["decided_at"]).timestamp()
        due = int(event_id.removeprefix(LIVE).partition("-")[0])
        return cls(due, round(decided * 1e6), sent_ms * 1_000, seen)


@dataclass(frozen=True, slots=True)
class Counted:
    """What a worker's counters stood at: records taken, rounds done, seconds in each stage."""

    records: float
    rounds: float
    stages: dict[str, float]

    @classmethod
    def of(cls, exposition: str) -> "Counted":
        """Read them off a page of metrics."""
        samples = [s for f in text_string_to_metric_families(exposition) for s in f.samples]
        spent = "livesegments_batch_duration_seconds"
        return cls(
            sum(s.value for s in samples if s.name == "livesegments_events_consumed_total"),
            sum(
                s.value
                for s in samples
                if s.name == f"{spent}_count" and s.labels["stage"] == "decode"
            ),
            {s.labels["stage"]: s.value for s in samples if s.name == f"{spent}_sum"},
        )

    def since(self, before: "Counted") -> "Counted":
        """Return what has been added."""
        stages = {name: value - before.stages[name] for name, value in self.stages.items()}
        return Counted(self.records - before.records, self.rounds - before.rounds, stages)


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
    """Send what customers bought before: nearly a window of it, up to now."""
    now_us = time.time_ns() // 1_000
    times_us = np.linspace(now_us - HISTORY_DAYS * 86_400_000_000, now_us, HISTORY).astype(np.int64)
    producer = _producer(bootstrap)
    for key, value in purchases(HISTORY, [f"h{i}" for i in range(HISTORY)], times_us, seed=0):
        producer.produce(PURCHASES, value, key)
        producer.poll(0)
    producer.flush()


def send_steadily(bootstrap: str, rate: int, first_us: int, seconds: float) -> None:
    """Send purchases at a rate, each when it is due."""
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
    # Partitions as every other client chooses them, and no event waits for company.
    return Producer(
        {
            "bootstrap.servers": bootstrap,
            "partitioner": "murmur2_random",
            "linger.ms": 0,
            "queue.buffering.max.messages": 1_000_000,
        }
    )


class Subscriber:
    """Reads the change log, read_committed, and notes when each change was there."""

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

    def read_until(self, deadline: float, quiet: float | None = None) -> bool:
        """Read until a moment (monotonic), or until nothing has come for so many seconds.

        Returns whether it ended with such a quiet, after at least one change.
        """
        last: float | None = None
        while (now := time.monotonic()) < deadline:
            if quiet is not None and last is not None and now - last >= quiet:
                return True
            message = self._consumer.poll(0.1)
            if message is not None and message.error() is None:
                self._read.append((message, time.time_ns() // 1_000))
                last = time.monotonic()
        return False

    def taken(self) -> list[Seen]:
        """Return the changes read since the last call that live events caused."""
        read, self._read = self._read, []
        found = [Seen.of(m.value() or b"", m.timestamp()[1], at) for m, at in read]
        return [each for each in found if each is not None]

    def close(self) -> None:
        """Leave."""
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


def _counted(port: int) -> Counted:
    with urllib.request.urlopen(f"http://{LOOPBACK}:{port}/metrics", timeout=10) as page:
        return Counted.of(page.read().decode())


def measure(
    bootstrap: str, port: int, subscriber: Subscriber, rate: int, seconds: float
) -> tuple[list[Seen], Counted]:
    """Return the changes that events of one rate caused, and what the worker did meanwhile."""
    first_us = time.time_ns() // 1_000 + 2_000_000
    began = time.monotonic() + 2.0
    arguments = (bootstrap, rate, first_us, BEFORE_SECONDS + seconds)
    sender = get_context("spawn").Process(target=send_steadily, args=arguments)
    sender.start()
    subscriber.read_until(began + BEFORE_SECONDS)
    before = _counted(port)
    subscriber.read_until(began + BEFORE_SECONDS + seconds)
    counted = _counted(port).since(before)
    sender.join()
    if not subscriber.read_until(time.monotonic() + WAIT_SECONDS, QUIET_SECONDS):
        raise RuntimeError(f"no end of changes {WAIT_SECONDS:.0f} s after {rate:,} events/s")
    from_us = first_us + BEFORE_SECONDS * 1e6
    return [each for each in subscriber.taken() if each.due >= from_us], counted


def percentiles(changes: Sequence[Seen], start: str = "due", end: str = "seen") -> list[float]:
    """Return p50, p95, p99 and the longest of the ways between two steps, in ms."""
    ways = [getattr(each, end) - getattr(each, start) for each in changes]
    return [float(p) / 1_000 for p in np.percentile(ways, (50, 95, 99, 100))]


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
            KafkaServer(where / "kafka", jvm_options=()) as kafka,
            RedisServer(where / "redis") as store,
        ):
            fresh_topics(kafka.bootstrap, PARTITIONS)
            send_history(kafka.bootstrap)
            with _worker(kafka, store, port):
                subscriber = Subscriber(kafka.bootstrap)
                if not subscriber.read_until(time.monotonic() + WAIT_SECONDS, QUIET_SECONDS):
                    raise RuntimeError(f"history was not done in {WAIT_SECONDS:.0f} s")
                for rate in rates:
                    changes, counted = measure(kafka.bootstrap, port, subscriber, rate, seconds)
                    _report(table, steps, rate, seconds, changes, counted)
                subscriber.close()
    table.note("from when an event was due to be sent; events that change nothing do not count")
    return table


STAGES = ("poll", "decode", "read", "assign", "commit", "publish")


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
