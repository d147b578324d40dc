"""Time that partitions rest while workers are replaced one after the other, as in a rollout."""

import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median

import redis
from kafka import KafkaProducer

from bench.report import Table
from bench.throughput import CUSTOMERS, GROUP
from bench.workers import Group, environment, purchases, wait
from livesegments.contracts.topics import PURCHASES
from livesegments.local_servers import LOOPBACK, free_ports
from livesegments.store.keys import partition_keys
from tests.servers import KafkaServer, RedisServer, fresh_topics

WORKERS, PARTITIONS = 4, 16
EVENTS_PER_SECOND = 200
STEADY_SECONDS = 20.0
REST_SECONDS = 0.5
"""A partition that commits nothing for longer rests; at that rate each has 12 events a second."""
STEP_SECONDS = 0.01
PATIENCE_SECONDS = 600
_SAMPLE_SECONDS = 0.01


class Replica:
    """A worker under a name that it keeps over restarts, as a pod of a StatefulSet does."""

    def __init__(self, name: str, settings: dict[str, str]) -> None:
        [self._port] = free_ports(1)
        own = {"LIVESEGMENTS_INSTANCE_ID": name, "LIVESEGMENTS_HTTP_PORT": f"{self._port}"}
        self._environment = {**settings, **own}
        self.start()

    def start(self) -> None:
        """Start it."""
        command = [sys.executable, "-m", "livesegments.cli", "run"]
        self._process = subprocess.Popen(command, env=self._environment, start_new_session=True)

    def stop(self) -> None:
        """Ask it to end (SIGTERM), and wait for that."""
        self._process.terminate()
        self._process.wait()

    def is_ready(self) -> bool:
        """Return the answer to a readiness probe."""
        url = f"http://{LOOPBACK}:{self._port}/readyz?exclude=model"
        try:
            with urllib.request.urlopen(url, timeout=5):
                return True
        except (urllib.error.URLError, ConnectionError):
            return False


class Rests:
    """The time between the commits of each partition, sampled while a ``with`` block runs."""

    def __init__(self, store: RedisServer, partitions: int) -> None:
        self._client = redis.Redis.from_url(store.url)
        self._keys = [partition_keys(GROUP, partition).progress for partition in range(partitions)]
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._sample)
        self.gaps: list[list[float]] = [[] for _ in range(partitions)]

    def __enter__(self) -> "Rests":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()
        self._client.close()

    def _sample(self) -> None:
        since = [time.monotonic()] * len(self._keys)
        before: list[object] = [None] * len(self._keys)
        while not self._over.wait(_SAMPLE_SECONDS):
            with self._client.pipeline(transaction=False) as pipe:
                for key in self._keys:
                    pipe.hget(key, "version")
                versions = pipe.execute()
            now = time.monotonic()
            for partition, version in enumerate(versions):
                if version != before[partition]:
                    self.gaps[partition].append(now - since[partition])
                    before[partition], since[partition] = version, now

    def longest(self) -> float:
        """Return the longest time without a commit, in seconds."""
        return max(max(gaps) for gaps in self.gaps)

    def typical(self) -> float:
        """Return how long a partition rested in all, in seconds: the median over partitions."""
        return median(sum(gap for gap in gaps if gap > REST_SECONDS) for gaps in self.gaps)


@contextmanager
def traffic(kafka: KafkaServer, rate: int) -> Iterator[None]:
    """Send purchases at a steady rate while the block runs."""
    over = threading.Event()

    def send() -> None:
        producer = KafkaProducer(bootstrap_servers=kafka.bootstrap, linger_ms=5)
        began = time.monotonic()
        events = purchases(rate * PATIENCE_SECONDS, CUSTOMERS, STEP_SECONDS)
        for sent, (key, value) in enumerate(events, 1):
            producer.send(PURCHASES, key=key, value=value)
            if over.wait(max(0.0, began + sent / rate - time.monotonic())):
                break
        producer.close()

    thread = threading.Thread(target=send)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def run(
    workers: int = WORKERS,
    partitions: int = PARTITIONS,
    rate: int = EVENTS_PER_SECOND,
    steady_seconds: float = STEADY_SECONDS,
) -> Table:
    """Replace all workers one after the other under traffic, each when the previous is ready."""
    table = Table(
        f"Rollout: {workers} workers, {partitions} partitions, {rate} events/s",
        ("", "seconds", "longest rest of a partition, s", "rest of a partition in all, s"),
    )

    def row(name: str, seconds: float, rests: Rests) -> None:
        table.add(name, f"{seconds:.0f}", f"{rests.longest():.2f}", f"{rests.typical():.2f}")

    with tempfile.TemporaryDirectory() as folder:
        where = Path(folder)
        with (
            KafkaServer(where / "kafka", measured=True) as kafka,
            RedisServer(where / "redis") as store,
        ):
            fresh_topics(kafka.bootstrap, partitions)
            group = Group(kafka, store, partitions)
            settings = environment(kafka, store)
            replicas = [Replica(f"worker-{n}", settings) for n in range(workers)]
            try:
                group.wait_for_members(workers)
                with traffic(kafka, rate):
                    wait(lambda: group.versions() > 10 * partitions, "all partitions commit")
                    with Rests(store, partitions) as rests:
                        time.sleep(steady_seconds)
                    row("no restart", steady_seconds, rests)
                    began = time.monotonic()
                    with Rests(store, partitions) as rests:
                        for replica in replicas:
                            replica.stop()
                            replica.start()
                            wait(replica.is_ready, "the new worker is ready")
                    row("each worker once", time.monotonic() - began, rests)
            finally:
                for replica in replicas:
                    replica.stop()
            group.close()
    table.note(f"a rest is a time without a commit of more than {REST_SECONDS} s")
    return table
