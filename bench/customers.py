"""Cost of a micro-batch, a sweep and a takeover as the number of customers grows."""

import json
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from statistics import median

import numpy as np
import redis
from kafka import TopicPartition
from kafka.consumer.fetcher import ConsumerRecord

from bench.report import Table
from livesegments.app import processing_config
from livesegments.config.settings import Settings
from livesegments.consumers.aggregation import Work, read_requests
from livesegments.consumers.decoding import decode_batch
from livesegments.consumers.modelling.initial_fit import draw, first_generation
from livesegments.consumers.partition_state import PartitionState, Sweep
from livesegments.consumers.processor import process
from livesegments.contracts.timestamps import rfc3339
from livesegments.contracts.topics import PURCHASES
from livesegments.domain import Model
from livesegments.features.aggregate import aggregate_purchases
from livesegments.features.record_codec import empty, encode
from livesegments.model.kmeans import MiniBatchKMeans
from livesegments.store.checkpoint import Checkpoint
from livesegments.store.partitions import Partitions
from tests.servers import RedisServer

CUSTOMERS, EVENTS, ROUNDS = (10_000, 100_000, 2_000_000), 5_000, 30
LIVE_EVENTS, LIVE_ROUNDS = 100, 300
CHUNK, TEMPLATES = 10_000, 2_000
FLAT = 1.15
DAY_US = 86_400_000_000
CLOCK_US = 6_000 * 3 * DAY_US
RULES = processing_config(Settings(clock="event", dedup_events=0))


def name_of(customer: int) -> str:
    return f"customer-{customer:08d}"


def templates() -> list[bytes]:
    """Return records of customers with purchases at random times in the window."""
    rng = np.random.default_rng(0)
    records = empty(TEMPLATES, RULES.record_shape)
    who = np.repeat(np.arange(TEMPLATES), rng.integers(1, 25, TEMPLATES))
    tile = RULES.layout.tile(CLOCK_US)
    aggregate_purchases(
        records,
        who,
        tile - rng.integers(0, RULES.layout.tiles, len(who)),
        np.ones(len(who), np.int64),
        rng.integers(100, 20_000, len(who)),
        np.zeros(TEMPLATES, np.int64),
    )
    return encode(records)


def fill(client: "redis.Redis", key: str, customers: range, records: Sequence[bytes]) -> None:
    """Bulk-load customers into a partition's hash."""
    for start in range(customers.start, customers.stop, CHUNK):
        some = range(start, min(start + CHUNK, customers.stop))
        client.hset(key, mapping={name_of(i): records[i % len(records)] for i in some})


def traffic(client: "redis.Redis") -> int:
    """Return the total bytes sent to and received from Redis."""
    info = dict(client.info("stats"))
    return int(info["total_net_input_bytes"]) + int(info["total_net_output_bytes"])


def cpu(client: "redis.Redis") -> float:
    """Return the CPU seconds used by Redis's command thread."""
    info = dict(client.info("cpu"))
    return float(info["used_cpu_user_main_thread"]) + float(info["used_cpu_sys_main_thread"])


class World:
    """One partition with a given number of customers, processed as its owner would."""

    def __init__(
        self,
        client: "redis.Redis",
        customers: int,
        records: Sequence[bytes],
        model: Model | None = None,
        learned: MiniBatchKMeans | None = None,
    ) -> None:
        self.customers = customers
        self._store = Partitions(client, f"bench-{customers}")
        self._rng = np.random.default_rng(customers)
        self._offset = 0
        key = self._store.keys(0).customers
        fill(client, key, range(customers), records)
        self.bytes = (client.memory_usage(key, samples=0) or 0) / customers
        checkpoint = Checkpoint(nonce="0" * 16, clock_us=CLOCK_US, swept_generation=1, generation=1)
        client.hset(self._store.keys(0).progress, items=checkpoint.to_fields())
        self._model = model or self._fitted()
        self._owned = PartitionState(0, checkpoint, {1: learned} if learned else {})

    def _fitted(self) -> Model:
        segmentation = RULES.segmentation
        generation = first_generation(draw(self._store, 1, RULES), 1, segmentation)
        return Model.of(segmentation.estimator(generation), RULES.segment_ids)

    def grown(self, client: "redis.Redis", customers: int) -> "World":
        """Return a partition of that many customers like these, all assigned and counted."""
        if not self._offset:
            self.round(self.customers)
        records = [blob for _, blob in self._store.customers(0)]
        [learned] = self._owned.estimators.values()
        total = sum([learned] * (customers // self.customers), RULES.segmentation.estimator())
        return World(client, customers, records, self._model, total)

    @property
    def members(self) -> int:
        """Number of customers in the estimator."""
        learned = self._owned.estimators.values()
        return sum(int(each.statistics.members.sum()) for each in learned)

    def _polled(self, events: int) -> dict[TopicPartition, list[ConsumerRecord]]:
        """Return one purchase for each of several distinct customers."""
        found = []
        at = rfc3339([CLOCK_US])[0]
        for customer in self._rng.choice(self.customers, events, replace=False).tolist():
            name = name_of(customer)
            value = {
                "event_id": f"e{self._offset}",
                "customer_id": name,
                "occurred_at": at,
                "kind": "purchase",
                "amount": 25.5,
                "currency": "USD",
            }
            found.append(
                ConsumerRecord(
                    PURCHASES,
                    0,
                    0,
                    self._offset,
                    0,
                    0,
                    name.encode(),
                    json.dumps(value).encode(),
                    [],
                    None,
                    -1,
                    -1,
                    -1,
                )
            )
            self._offset += 1
        return {TopicPartition(PURCHASES, 0): found}

    def round(self, events: int, sweep: bool = False) -> float:
        """Process one micro-batch, from polled records to commit; return its seconds."""
        polled = self._polled(events)
        owned = self._owned
        if not sweep:
            owned = replace(owned, sweep=None)
        elif owned.sweep is None:
            owned = replace(owned, sweep=Sweep(1, RULES.layout.tile(CLOCK_US)))
        started = time.perf_counter()
        batch = decode_batch(polled, RULES, {0: owned.seen})
        readings = self._store.read(read_requests([owned], batch, RULES))
        work = Work(RULES, self._model, batch, [owned], readings, CLOCK_US)
        [decision] = process(work).partitions
        assert decision.commit is not None
        if self._store.commit([decision.commit]) != [True]:
            raise RuntimeError("a commit was refused")
        seconds = time.perf_counter() - started
        # Nothing is published here, and the outbox must not grow.
        self._owned = decision.state.confirmed(decision.state.checkpoint.version)
        return seconds


def run(
    customers: Sequence[int] = CUSTOMERS, rounds: int = ROUNDS, live_rounds: int = LIVE_ROUNDS
) -> Table:
    """Run the same micro-batches over ever more customers, interleaved; then during a sweep."""
    with tempfile.TemporaryDirectory() as folder, RedisServer(Path(folder)) as server:
        client = redis.Redis.from_url(server.url, protocol=2)
        few = World(client, TEMPLATES, templates())
        worlds = [few.grown(client, count) for count in customers]
        seconds: list[list[float]] = [[] for _ in worlds]
        of_redis: list[list[float]] = [[] for _ in worlds]
        for i in range(rounds + 3):
            for world, taken, used in zip(worlds, seconds, of_redis, strict=True):
                before = cpu(client)
                one = world.round(EVENTS)
                if i >= 3:
                    taken.append(one)
                    used.append(cpu(client) - before)
        table = Table(
            f"Customers: rounds of {EVENTS:,} events of as many customers, one partition, from the"
            f" records polled to the commit in Redis; medians of {rounds}, interleaved",
            (
                "customers",
                "ms a round",
                f"of {customers[0]:,}",
                "CPU ms of Redis",
                "bytes a customer",
            ),
        )
        base = median(seconds[0])
        for world, taken, used in zip(worlds, seconds, of_redis, strict=True):
            table.add(
                f"{world.customers:,}",
                f"{median(taken) * 1e3:.1f}",
                f"{median(taken) / base:.2f}",
                f"{median(used) * 1e3:.1f}",
                f"{world.bytes:.0f}",
            )
        worst = max(median(taken) for taken in seconds) / base
        sent = traffic(client)
        worlds[-1].round(EVENTS)
        network = (traffic(client) - sent) / EVENTS
        table.note(f"to and from Redis: {network:.0f} bytes an event, each of another customer")
        table.note("bytes by MEMORY USAGE of the partition's customers")
        table.goal(f"a round takes <= {FLAT} of that over {customers[0]:,}", worst <= FLAT)
        table.more.append(beside_a_sweep(worlds[-1], live_rounds))
        client.close()
    return table


def beside_a_sweep(world: World, rounds: int) -> Table:
    """Run small micro-batches alternately with and without a sweep step."""
    seconds: dict[bool, list[float]] = {False: [], True: []}
    for i in range(2 * rounds + 20):
        one = world.round(LIVE_EVENTS, sweep=bool(i % 2))
        if i >= 20:
            seconds[bool(i % 2)].append(one)
    table = Table(
        f"A sweep during live events: micro-batches of {LIVE_EVENTS} events, {world.customers:,}"
        f" customers, {RULES.sweep_chunk} of whom each round scores as well",
        ("", "p50 ms", "p99 ms"),
    )
    for sweep, name in ((False, "events alone"), (True, "a sweep under way")):
        low, high = np.percentile(seconds[sweep], (50, 99)) * 1e3
        table.add(name, f"{low:.1f}", f"{high:.1f}")
    return table
