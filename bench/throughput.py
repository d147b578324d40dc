"""One exactly-once worker against a plain kafka-python consumer of the same topic."""

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import numpy as np
import redis
from kafka import KafkaConsumer, KafkaProducer, TopicPartition

from bench.report import Table
from livesegments.contracts.topics import PURCHASES
from tests.servers import KafkaServer, RedisServer, fresh_topics

EVENTS, CUSTOMERS, PARTITIONS, RUNS = 300_000, 20_000, 4, 3
GOAL = 0.5
GROUP = "livesegments"


def produce(bootstrap: str, events: int, step_seconds: float = 10.0) -> None:
    """Fill the purchases topic: skewed customers, some event time between events."""
    rng = np.random.default_rng(0)
    customers = (CUSTOMERS * rng.random(events) ** 2).astype(int).tolist()
    cents = rng.integers(100, 20_000, events).tolist()
    start = np.datetime64("2024-01-01T00:00:00")
    after = (np.arange(events) * round(step_seconds * 1000)).astype("timedelta64[ms]")
    times = np.datetime_as_string(start + after).tolist()
    producer = KafkaProducer(bootstrap_servers=bootstrap, linger_ms=50, batch_size=256 * 1024)
    for i in range(events):
        value = {
            "event_id": f"e{i:09d}",
            "customer_id": f"customer-{customers[i]:06d}",
            "occurred_at": times[i] + "Z",
            "kind": "purchase",
            "amount": cents[i] / 100,
            "currency": "USD",
            "items": 3,
            "category": "groceries",
        }
        key = f"customer-{customers[i]:06d}".encode()
        producer.send(PURCHASES, key=key, value=json.dumps(value).encode())
    producer.flush()
    producer.close()


def consume(bootstrap: str, events: int, use: Callable[[bytes], object] | None) -> float:
    """Return the seconds from the first record to the last with kafka-python's defaults."""
    consumer = KafkaConsumer(
        bootstrap_servers=bootstrap,
        auto_offset_reset="earliest",
        enable_auto_commit=False,
        metrics_enabled=False,
    )
    consumer.assign([TopicPartition(PURCHASES, p) for p in range(PARTITIONS)])
    seen, started = 0, 0.0
    while seen < events:
        for records in consumer.poll(500, max_records=5_000).values():
            started = started or time.perf_counter()
            seen += len(records)
            if use is not None:
                for record in records:
                    use(record.value)
    seconds = time.perf_counter() - started
    consumer.close()
    return seconds


def wait_for_worker(kafka: KafkaServer, store: RedisServer, alive: Callable[[], bool]) -> float:
    """Return a worker's seconds for all purchases: first commit to last offset, scaled.

    Its start and the join of the group come before the first commit. The records of that commit are
    not timed, so the rest is scaled up to the whole.

    Raises
    ------
    RuntimeError
        If the worker exits first.
    """
    client = redis.Redis.from_url(store.url)
    consumer = KafkaConsumer(
        bootstrap_servers=kafka.bootstrap, group_id=GROUP, enable_auto_commit=False
    )
    tps = [TopicPartition(PURCHASES, p) for p in range(PARTITIONS)]
    ends = int(sum(consumer.end_offsets(tps).values()))

    def folded() -> int:
        keys = [f"{GROUP}:{{{p}}}:progress" for p in range(PARTITIONS)]
        return sum(int(client.hget(key, "purchases") or 0) for key in keys)

    def committed() -> int:
        return sum(consumer.committed(tp) or 0 for tp in tps)

    def wait(done: Callable[[], bool], pause: float) -> None:
        while not done():
            if not alive():
                raise RuntimeError("the worker ended before the purchases did")
            time.sleep(pause)

    try:
        wait(lambda: folded() > 0, 0.005)
        started, first = time.perf_counter(), folded()
        wait(lambda: folded() >= ends, 0.02)
        wait(lambda: committed() >= ends, 0.02)
        seconds = time.perf_counter() - started
    finally:
        consumer.close()
        client.close()
    if first >= ends:
        raise ValueError(f"{ends} purchases are too few: the first commit folded them all")
    return seconds * ends / (ends - first)


def segment(kafka: KafkaServer, store: RedisServer, **settings: str) -> tuple[float, float]:
    """Return wall and CPU seconds of a worker as users run it, with optional extra settings."""
    environment = {
        **os.environ,
        "LIVESEGMENTS_KAFKA_BOOTSTRAP_SERVERS": kafka.bootstrap,
        "LIVESEGMENTS_REDIS_URL": store.url,
        "LIVESEGMENTS_GROUP_ID": GROUP,
        "LIVESEGMENTS_CLOCK": "event",
        "LIVESEGMENTS_HTTP_PORT": "0",
        "LIVESEGMENTS_LOG_LEVEL": "warning",
        **settings,
    }
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    worker = subprocess.Popen([sys.executable, "-m", "livesegments.cli", "run"], env=environment)
    try:
        seconds = wait_for_worker(kafka, store, lambda: worker.poll() is None)
    finally:
        worker.terminate()
        worker.wait()
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return seconds, used.ru_utime + used.ru_stime - before.ru_utime - before.ru_stime


def run(events: int = EVENTS, runs: int = RUNS) -> Table:
    """Measure interleaved runs; return medians."""
    alone, loads, ours, cpu = [], [], [], []
    with tempfile.TemporaryDirectory() as folder:
        where = Path(folder)
        with (
            KafkaServer(where / "kafka", measured=True) as kafka,
            RedisServer(where / "redis") as store,
        ):
            for _ in range(runs):
                fresh_topics(kafka.bootstrap, PARTITIONS)
                produce(kafka.bootstrap, events)
                store.flush()
                alone.append(consume(kafka.bootstrap, events, None))
                loads.append(consume(kafka.bootstrap, events, json.loads))
                seconds, used = segment(kafka, store)
                ours.append(seconds)
                cpu.append(used)
    table = Table(
        f"Throughput: {events:,} events, {CUSTOMERS:,} skewed customers, {PARTITIONS} partitions,"
        f" Apache Kafka and Redis, medians of {runs}",
        ("", "events/s", "of kafka-python alone"),
    )
    base = median(alone)
    for name, times in (
        ("kafka-python alone", alone),
        ("and json.loads of each", loads),
        ("Livesegments, exactly once", ours),
    ):
        table.add(name, f"{events / median(times):,.0f}", f"{base / median(times):.2f}")
    table.note(
        "the worker from its first commit to its last offset; start and join of the group excluded"
    )
    table.note(f"CPU of the worker, start included: {median(cpu) / events * 1e6:.1f} s a million")
    table.goal(">= 0.5 of kafka-python alone", base / median(ours) >= GOAL)
    return table
