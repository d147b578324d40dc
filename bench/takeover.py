"""Cost of a rebalance to a worker: time to own its partitions and to its first micro-batch."""

import json
import tempfile
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from statistics import median

import redis

from bench.customers import CHUNK, fill
from bench.report import Table
from bench.throughput import GROUP, PARTITIONS
from bench.workers import Group, backlog, environment, purchases, started, wait
from livesegments.store.keys import partition_keys
from tests.servers import KafkaServer, RedisServer, fresh_topics

CUSTOMERS, MANY, RUNS = 20_000, 2_000_000, 3
MANY_PARTITIONS = 64
FLAT = 1.25
REMEMBERED = 1_000_000
"""Default size of a partition's dedup window: purchase ids of 8 bytes each."""
STEP_SECONDS = 0.05


class Takeovers:
    """Workers that take a store over one after another, each with a few purchases waiting."""

    def __init__(
        self, kafka: KafkaServer, store: RedisServer, folder: Path, partitions: int = PARTITIONS
    ) -> None:
        self._kafka, self._store, self._folder = kafka, store, folder
        fresh_topics(kafka.bootstrap, partitions)
        store.flush()
        self._group = Group(kafka, store, partitions)
        self._sent = 0
        self.send(4 * CUSTOMERS)
        self.measure()

    def send(self, events: int) -> None:
        """Send purchases."""
        with backlog(self._kafka, purchases(events, CUSTOMERS, STEP_SECONDS, self._sent)):
            self._sent += events

    def measure(self) -> tuple[float, float]:
        """Start a worker; return the seconds of its takeover and to its first micro-batch."""
        self.send(1_000)
        log = self._folder / f"worker-{self._sent}.log"
        settings = environment(
            self._kafka,
            self._store,
            LIVESEGMENTS_LOG_LEVEL="info",
            LIVESEGMENTS_LOG_FORMAT="json",
        )
        with log.open("wb") as out, started(1, settings, out.fileno()):
            wait(lambda: "owns partitions" in dict(_events(log)), "partitions are taken over")
            owned_at = self._group.versions()
            wait(lambda: self._group.versions() > owned_at, "a round is committed", 0.001)
            folded_at = time.time()
            self._group.wait_for_purchases()
        at = dict(reversed(list(_events(log))))
        began = at["compares the store with Kafka"]
        return at["owns partitions"] - began, folded_at - began

    def medians(self, runs: int) -> tuple[float, float]:
        """Repeat the measurement and return medians."""
        owned, folded = zip(*(self.measure() for _ in range(runs)), strict=True)
        return median(owned), median(folded)


def _events(log: Path) -> Iterator[tuple[str, float]]:
    """Return a worker's logged events and their times."""
    for line in log.read_text().splitlines():
        if line.startswith("{") and line.endswith("}"):
            entry = json.loads(line)
            yield entry["event"], datetime.fromisoformat(entry["timestamp"]).timestamp()


def add_customers(client: "redis.Redis", customers: int) -> None:
    """Add customers with records like those of the existing ones."""
    group_id = GROUP
    for partition in range(PARTITIONS):
        key = partition_keys(group_id, partition).customers
        records = [blob for _, blob in client.hscan_iter(key, count=CHUNK)]
        share = customers // PARTITIONS
        fill(client, key, range(partition * share, (partition + 1) * share), records)
        # The sizes after the last commit: the added customers would be taken for damage.
        client.hdel(partition_keys(group_id, partition).progress, "sized_version")


def fill_rings(client: "redis.Redis", ids: int) -> None:
    """Fill every partition's dedup window with a given number of purchases."""
    group_id = GROUP
    for partition in range(PARTITIONS):
        client.setrange(partition_keys(group_id, partition).seen, 8 * ids - 1, b"\0")
        client.hset(partition_keys(group_id, partition).progress, "remembered", ids)


def run(many: int = MANY, runs: int = RUNS, many_partitions: int = MANY_PARTITIONS) -> Table:
    """Take over partitions with few customers, many, or full dedup windows; then many of them."""
    table = Table(
        f"Takeover of all partitions by a worker that starts: medians of {runs}",
        ("partitions", "", "s to own them", "s to the first round", "of the first"),
    )
    with tempfile.TemporaryDirectory() as folder:
        where = Path(folder)
        with (
            KafkaServer(where / "kafka", measured=True) as kafka,
            RedisServer(where / "redis") as store,
            redis.Redis.from_url(store.url, protocol=2) as client,
        ):
            workers = Takeovers(kafka, store, where)
            base = 0.0

            def row(partitions: int, name: str) -> float:
                nonlocal base
                owned, folded = workers.medians(runs)
                base = base or owned
                ratio = f"{owned / base:.2f}"
                table.add(f"{partitions}", name, f"{owned:.2f}", f"{folded:.2f}", ratio)
                return owned

            row(PARTITIONS, f"{CUSTOMERS:,} customers")
            add_customers(client, many)
            flat = row(PARTITIONS, f"{many:,} customers") / base
            fill_rings(client, REMEMBERED)
            row(PARTITIONS, f"and {REMEMBERED:,} remembered ids a partition")
            workers = Takeovers(kafka, store, where, many_partitions)
            row(many_partitions, f"{CUSTOMERS:,} customers")
    table.note("the ids are the only thing loaded in full: as many as DEDUP_EVENTS says")
    table.goal(f"as long with {many:,} customers, within {FLAT}", flat <= FLAT)
    return table
