"""Workers as users run them, each in a process group together with its publisher's process."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import redis
from kafka import KafkaConsumer, KafkaProducer, TopicPartition
from kafka.admin import KafkaAdminClient

from bench.throughput import GROUP
from livesegments.contracts.topics import PURCHASES
from livesegments.operations.consumer_group import count_workers
from tests.servers import KafkaServer, RedisServer

PATIENCE_SECONDS = 120.0
JOIN_SECONDS = 2.0
"""Time from the last member's join until all have their partitions."""
_TICK = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")


def environment(kafka: KafkaServer, store: RedisServer, **settings: str) -> dict[str, str]:
    """Return the environment of a worker."""
    return {
        **os.environ,
        "LIVESEGMENTS_KAFKA_BOOTSTRAP_SERVERS": kafka.bootstrap,
        "LIVESEGMENTS_REDIS_URL": store.url,
        "LIVESEGMENTS_GROUP_ID": GROUP,
        "LIVESEGMENTS_CLOCK": "event",
        "LIVESEGMENTS_HTTP_PORT": "0",
        "LIVESEGMENTS_LOG_LEVEL": "error",
        **settings,
    }


@contextmanager
def started(
    count: int, environment: dict[str, str], log: int | None = None
) -> Iterator[list["subprocess.Popen[bytes]"]]:
    """Run workers; stop them in order on exit."""
    command = [sys.executable, "-m", "livesegments.cli", "run"]
    workers = [
        subprocess.Popen(command, env=environment, start_new_session=True, stderr=log)
        for _ in range(count)
    ]
    try:
        yield workers
    finally:
        for worker in workers:
            worker.terminate()
        for worker in workers:
            worker.wait()


def purchases(
    events: int, customers: int, step_seconds: float, first: int = 0
) -> Iterator[tuple[bytes, bytes]]:
    """Return purchases of skewed customers, key and value, some event time between them."""
    rng = np.random.default_rng(first)
    who = (customers * rng.random(events) ** 2).astype(int).tolist()
    cents = rng.integers(100, 20_000, events).tolist()
    after_ms = np.arange(first, first + events) * round(step_seconds * 1000)
    start = np.datetime64("2024-01-01T00:00:00")
    times = np.datetime_as_string(start + after_ms.astype("timedelta64[ms]")).tolist()
    for i in range(events):
        customer = f"customer-{who[i]:06d}"
        value = {
            "event_id": f"e{first + i:09d}",
            "customer_id": customer,
            "occurred_at": times[i] + "Z",
            "kind": "purchase",
            "amount": cents[i] / 100,
            "currency": "USD",
            "items": 3,
            "category": "groceries",
        }
        yield customer.encode(), json.dumps(value).encode()


@contextmanager
def backlog(kafka: KafkaServer, events: Iterator[tuple[bytes, bytes]]) -> Iterator[None]:
    """Send purchases that become visible to workers all at once, when the block ends.

    They are one transaction, and workers consume with read_committed.
    """
    producer = KafkaProducer(
        bootstrap_servers=kafka.bootstrap,
        linger_ms=50,
        batch_size=256 * 1024,
        transactional_id="bench",
        transaction_timeout_ms=600_000,
    )
    producer.init_transactions()
    producer.begin_transaction()
    for key, value in events:
        producer.send(PURCHASES, key=key, value=value)
    producer.flush()
    yield
    producer.commit_transaction()
    producer.close()


def processes(worker: "subprocess.Popen[bytes]") -> list[list[str]]:
    """Return ``/proc/PID/stat`` of each process of a worker, from the state on; the pid first."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            pid, _, rest = stat.read_text().partition(" (")
        except OSError:
            continue  # it has just exited
        fields = rest.rpartition(") ")[2].split()
        if int(fields[2]) == worker.pid:
            found.append([pid, *fields])
    return found


def cpu_seconds(workers: Sequence["subprocess.Popen[bytes]"]) -> float:
    """Return the CPU seconds used by all processes of the workers."""
    each = [fields for worker in workers for fields in processes(worker)]
    return sum(int(fields[12]) + int(fields[13]) for fields in each) / _TICK


def resident_bytes(worker: "subprocess.Popen[bytes]") -> dict[int, int]:
    """Return the resident set of each process of a worker, by pid."""
    return {int(fields[0]): int(fields[22]) * _PAGE for fields in processes(worker)}


def wait(holds: Callable[[], bool], what: str, pause: float = 0.05) -> None:
    """Wait until a condition holds."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not holds():
        if time.monotonic() > deadline:
            raise RuntimeError(f"{what}: not within {PATIENCE_SECONDS:.0f} s")
        time.sleep(pause)


class Group:
    """Progress of a deployment's workers."""

    def __init__(self, kafka: KafkaServer, store: RedisServer, partitions: int) -> None:
        self._partitions = partitions
        self._redis = redis.Redis.from_url(store.url)
        self._config = {"bootstrap_servers": kafka.bootstrap}
        self._consumer = KafkaConsumer(**self._config, group_id=GROUP, enable_auto_commit=False)
        self._purchases = [TopicPartition(PURCHASES, p) for p in range(partitions)]

    def versions(self) -> int:
        """Return the total number of commits over all partitions."""
        keys = [f"{GROUP}:{{{p}}}:progress" for p in range(self._partitions)]
        return sum(int(self._redis.hget(key, "version") or 0) for key in keys)

    def wait_for_purchases(self) -> None:
        """Wait until all purchases of a backlog are processed and published."""
        ends = self._consumer.end_offsets(self._purchases)
        wait(
            # The last offset is the commit marker of the backlog's transaction, which is never
            # processed.
            lambda: all((self._consumer.committed(tp) or 0) >= end - 1 for tp, end in ends.items()),
            "all purchases are folded",
        )

    def wait_for_members(self, count: int) -> None:
        """Wait until that many workers share the partitions."""
        admin = KafkaAdminClient(**self._config)
        wait(lambda: count_workers(admin, GROUP) == count, f"{count} workers are there", 0.2)
        admin.close()
        time.sleep(JOIN_SECONDS)

    def close(self) -> None:
        """Disconnect."""
        self._consumer.close()
        self._redis.close()
