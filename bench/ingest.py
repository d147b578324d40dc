"""One ingest process against a plain kafka-python consumer of the same topic."""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from threading import Thread

import numpy as np
from kafka import KafkaConsumer, KafkaProducer, TopicPartition
from kafka.admin import KafkaAdminClient

from bench.report import Table
from livesegments.contracts.topics import PURCHASES
from tests.servers import KafkaServer, fresh_topics

TOPIC, PARTITIONS, GROUP = "shop.orders", 4, "livesegments-ingest-orders"
EVENTS, CUSTOMERS, RUNS = 300_000, 20_000, 3
GOAL = 0.35
RATE, SECONDS, BEFORE_SECONDS, TICK_SECONDS = 1_000, 20.0, 5.0, 0.002

SQL = """
SELECT value->>'$.order.number' AS event_id,
       value->>'$.customer.id' AS customer_id,
       value->>'$.created_at' AS occurred_at,
       (value->>'$.total')::DECIMAL(18,2) * rates.usd::DECIMAL(9,4) AS amount
FROM source JOIN rates ON rates.currency = value->>'$.currency'
WHERE value->>'$.status' = 'paid'
"""


def order(number: str, customer: int, total: float) -> bytes:
    """Return a nested order in one of three currencies."""
    value = {
        "order": {"number": number, "channel": "web"},
        "customer": {"id": f"customer-{customer:06d}", "country": "DE"},
        "created_at": "2026-03-01T08:30:00Z",
        "total": f"{total:.2f}",
        "currency": ("USD", "EUR", "GBP")[customer % 3],
        "status": "paid",
    }
    return json.dumps(value).encode()


def produce(bootstrap: str, events: int) -> None:
    """Fill the source topic, keyed by order."""
    rng = np.random.default_rng(0)
    customers = (CUSTOMERS * rng.random(events) ** 2).astype(int).tolist()
    totals = (rng.integers(100, 20_000, events) / 100).tolist()
    producer = KafkaProducer(bootstrap_servers=bootstrap, linger_ms=50, batch_size=256 * 1024)
    for i in range(events):
        number = f"o-{i:09d}"
        producer.send(TOPIC, key=number.encode(), value=order(number, customers[i], totals[i]))
    producer.flush()
    producer.close()


def consume(bootstrap: str, events: int) -> float:
    """Return the seconds from the first record to the last with kafka-python's defaults."""
    consumer = KafkaConsumer(
        bootstrap_servers=bootstrap, auto_offset_reset="earliest", enable_auto_commit=False
    )
    consumer.assign([TopicPartition(TOPIC, p) for p in range(PARTITIONS)])
    seen, started = 0, 0.0
    while seen < events:
        for records in consumer.poll(500, max_records=5_000).values():
            started = started or time.perf_counter()
            seen += len(records)
    seconds = time.perf_counter() - started
    consumer.close()
    return seconds


@contextmanager
def ingest(kafka: KafkaServer, folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Run a process of ingest as users run it."""
    (folder / "orders.sql").write_text(SQL)
    (folder / "rates.csv").write_text("currency,usd\nUSD,1.0\nEUR,1.25\nGBP,1.5\n")
    sources = folder / "SOURCES.toml"
    sources.write_text(
        f'[[source]]\nname = "orders"\ntopic = "{TOPIC}"\ninto = "purchases"\n'
        'query = "orders.sql"\n[[table]]\nname = "rates"\nfile = "rates.csv"\n'
    )
    environment = {
        **os.environ,
        "LIVESEGMENTS_KAFKA_BOOTSTRAP_SERVERS": kafka.bootstrap,
        "LIVESEGMENTS_HTTP_PORT": "0",
        "LIVESEGMENTS_LOG_LEVEL": "warning",
    }
    command = [sys.executable, "-m", "livesegments.cli", "ingest", str(sources)]
    process = subprocess.Popen(command, env=environment)
    try:
        yield process
    finally:
        process.terminate()
        process.wait()


def wait_for_ingest(kafka: KafkaServer, alive: Callable[[], bool]) -> float:
    """Return the seconds for all records: first commit to last offset, scaled.

    The records of the first commit are not timed, so the rest is scaled up to the whole.
    """
    consumer = KafkaConsumer(
        bootstrap_servers=kafka.bootstrap, group_id=GROUP, enable_auto_commit=False
    )
    tps = [TopicPartition(TOPIC, p) for p in range(PARTITIONS)]
    ends = int(sum(consumer.end_offsets(tps).values()))

    def committed() -> int:
        if not alive():
            raise RuntimeError("ingest ended before the records did")
        return sum(consumer.committed(tp) or 0 for tp in tps)

    try:
        while not (first := committed()):
            time.sleep(0.01)
        started = time.perf_counter()
        while committed() < ends:
            time.sleep(0.02)
        seconds = time.perf_counter() - started
    finally:
        consumer.close(autocommit=False)
    if first >= ends:
        raise ValueError(f"{ends} records are too few: the first commit had them all")
    return seconds * ends / (ends - first)


def latencies(bootstrap: str, topic: str, id_of: Callable[[bytes], str]) -> list[float]:
    """Return milliseconds from when each order was due to its committed record in a topic."""
    consumer = KafkaConsumer(
        bootstrap_servers=bootstrap, isolation_level="read_committed", fetch_max_wait_ms=20
    )
    tps = [TopicPartition(topic, p) for p in range(PARTITIONS)]
    consumer.assign(tps)
    consumer.seek_to_end(*tps)
    for tp in tps:
        consumer.position(tp)
    sender = Thread(target=send_steadily, args=(bootstrap,))
    sender.start()
    found: list[float] = []
    began = time.time()
    while sender.is_alive() or time.time() < began + BEFORE_SECONDS + SECONDS + 2:
        for records in consumer.poll(20).values():
            now = time.time()
            for record in records:
                due = float(id_of(record.value).removeprefix("live-"))
                if due > began + BEFORE_SECONDS:
                    found.append((now - due) * 1_000)
    sender.join()
    consumer.close()
    return found


def send_steadily(bootstrap: str) -> None:
    """Send orders at a steady rate; an order's number is the time it was due."""
    producer = KafkaProducer(bootstrap_servers=bootstrap, linger_ms=0)
    began, sent = time.time(), 0
    while (now := time.time()) < began + BEFORE_SECONDS + SECONDS:
        while sent < (now - began) * RATE:
            number = f"live-{began + sent / RATE:.6f}"
            producer.send(TOPIC, key=number.encode(), value=order(number, sent % CUSTOMERS, 12.5))
            sent += 1
        time.sleep(TICK_SECONDS)
    producer.flush()
    producer.close()


def fresh(kafka: KafkaServer) -> None:
    """Empty all topics and create the source's."""
    fresh_topics(kafka.bootstrap, PARTITIONS)
    admin = KafkaAdminClient(bootstrap_servers=kafka.bootstrap)
    admin.create_topics(
        {TOPIC: {"num_partitions": PARTITIONS, "replication_factor": 1}}, wait_for_metadata=True
    )
    admin.close()


def run(events: int = EVENTS, runs: int = RUNS, *, live: bool = True) -> Table:
    """Measure throughput and the latency that ingest adds."""
    table = Table(
        f"ingest: {events:,} nested JSON orders in three currencies, exactly once,"
        f" {datetime.now(UTC):%Y-%m-%d}",
        ("", "records/s", "ratio", "p50 ms", "p99 ms"),
    )
    plain: list[float] = []
    ours: list[float] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with KafkaServer(folder / "kafka", measured=True) as kafka:
            for _ in range(runs):
                fresh(kafka)
                produce(kafka.bootstrap, events)
                plain.append(consume(kafka.bootstrap, events))
                with ingest(kafka, folder) as process:
                    ours.append(wait_for_ingest(kafka, lambda p=process: p.poll() is None))  # type: ignore[misc]
            ratio = median(a / b for a, b in zip(plain, ours, strict=True))
            table.add("kafka-python alone", f"{events / median(plain):,.0f}", "1", "", "")
            table.add("ingest", f"{events / median(ours):,.0f}", f"{ratio:.2f}", "", "")
            table.goal(f"ratio at least {GOAL}", ratio >= GOAL)
            if live:
                fresh(kafka)
                read = latencies(
                    kafka.bootstrap, TOPIC, lambda v: str(json.loads(v)["order"]["number"])
                )
                fresh(kafka)
                produce(kafka.bootstrap, 2_000)
                with ingest(kafka, folder) as process:
                    wait_for_ingest_idle(kafka, lambda: process.poll() is None)
                    through = latencies(
                        kafka.bootstrap, PURCHASES, lambda v: str(json.loads(v)["event_id"])
                    )
                for label, found in (("source read directly", read), ("through ingest", through)):
                    p50, p99 = np.percentile(found, [50, 99])
                    table.add(f"{label}, {RATE:,}/s", "", "", f"{p50:.0f}", f"{p99:.0f}")
    return table


def wait_for_ingest_idle(kafka: KafkaServer, alive: Callable[[], bool]) -> None:
    """Wait until ingest has committed all records that are there."""
    consumer = KafkaConsumer(
        bootstrap_servers=kafka.bootstrap, group_id=GROUP, enable_auto_commit=False
    )
    tps = [TopicPartition(TOPIC, p) for p in range(PARTITIONS)]
    ends = int(sum(consumer.end_offsets(tps).values()))
    while sum(consumer.committed(tp) or 0 for tp in tps) < ends:
        if not alive():
            raise RuntimeError("ingest ended")
        time.sleep(0.1)
    consumer.close(autocommit=False)
