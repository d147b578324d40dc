"""Cost of an event as workers and partitions are added."""

import os
import tempfile
import time
from dataclasses import astuple, dataclass
from pathlib import Path
from statistics import median

import redis

from bench.report import Table
from bench.throughput import CUSTOMERS
from bench.workers import Group, backlog, cpu_seconds, environment, purchases, started
from tests.servers import KafkaServer, RedisServer, fresh_topics

EVENTS, FIRST, RUNS = 200_000, 20_000, 2
WORKERS, PARTITIONS = (1, 2, 4), (1, 4, 16, 64)
GOAL = 1.1
STEP_SECONDS = 0.05
"""Event time between two purchases: all lie in one tile, so that no sweep is measured."""


@dataclass(frozen=True, slots=True)
class Cost:
    """Cost of processing a backlog."""

    cpu: float
    seconds: float
    commits: int
    store_bytes: int
    """Bytes to and from Redis."""
    store_cpu: float


def fold_backlog(
    kafka: KafkaServer, store: RedisServer, workers: int, partitions: int, events: int
) -> Cost:
    """Let workers that have their model and partitions process a backlog; return its cost."""
    fresh_topics(kafka.bootstrap, partitions)
    store.flush()
    group = Group(kafka, store, partitions)
    with (
        redis.Redis.from_url(store.url) as client,
        started(workers, environment(kafka, store, LIVESEGMENTS_REFIT="off")) as running,
    ):

        def spent() -> Cost:
            info = dict(client.info())
            network = int(info["total_net_input_bytes"]) + int(info["total_net_output_bytes"])
            redis_cpu = float(info["used_cpu_user"]) + float(info["used_cpu_sys"])
            now = time.perf_counter()
            return Cost(cpu_seconds(running), now, group.versions(), network, redis_cpu)

        group.wait_for_members(workers)
        with backlog(kafka, purchases(FIRST, CUSTOMERS, STEP_SECONDS)):
            pass
        group.wait_for_purchases()
        with backlog(kafka, purchases(events, CUSTOMERS, STEP_SECONDS, FIRST)):
            before = spent()
        group.wait_for_purchases()
        after = spent()
    group.close()
    return Cost(*(b - a for a, b in zip(astuple(before), astuple(after), strict=True)))


def _measure(sizes: list[tuple[int, int]], events: int, runs: int) -> dict[tuple[int, int], Cost]:
    """Return the medians for each size (workers, partitions), interleaved."""
    costs: dict[tuple[int, int], list[Cost]] = {size: [] for size in sizes}
    with tempfile.TemporaryDirectory() as folder:
        where = Path(folder)
        with (
            KafkaServer(where / "kafka", measured=True) as kafka,
            RedisServer(where / "redis") as store,
        ):
            for _ in range(runs):
                for size, found in costs.items():
                    found.append(fold_backlog(kafka, store, *size, events))
    return {
        size: Cost(
            median(each.cpu for each in found),
            median(each.seconds for each in found),
            round(median(each.commits for each in found)),
            round(median(each.store_bytes for each in found)),
            median(each.store_cpu for each in found),
        )
        for size, found in costs.items()
    }


def run_workers(events: int = EVENTS, runs: int = RUNS, partitions: int = 4) -> Table:
    """Process the same backlog with more and more workers."""
    costs = _measure([(count, partitions) for count in WORKERS], events, runs)
    table = Table(
        f"Workers: a backlog of {events:,} events, {CUSTOMERS:,} skewed customers, {partitions}"
        f" partitions, {os.cpu_count()} cores for workers and servers; medians of {runs}",
        ("workers", "CPU s a million events", "of one worker", "events/s"),
    )
    one = costs[1, partitions].cpu
    for (count, _), cost in costs.items():
        table.add(
            f"{count}",
            f"{cost.cpu / events * 1e6:.1f}",
            f"{cost.cpu / one:.2f}",
            f"{events / cost.seconds:,.0f}",
        )
    table.note("events/s are those of this machine, whose cores the servers use as well")
    cost = costs[1, partitions]
    table.note(
        f"Redis: {cost.store_cpu / events * 1e6:.1f} s of CPU a million events, and"
        f" {cost.store_bytes / events:.0f} bytes an event to and from it"
    )
    worst = max(cost.cpu for cost in costs.values()) / one
    table.goal(f"CPU of an event <= {GOAL} of one worker's", worst <= GOAL)
    return table


def run_partitions(events: int = EVENTS, runs: int = RUNS) -> Table:
    """Process the same backlog over more and more partitions."""
    costs = _measure([(1, count) for count in PARTITIONS], events, runs)
    table = Table(
        f"Partitions: a backlog of {events:,} events, {CUSTOMERS:,} skewed customers, one worker;"
        f" medians of {runs}",
        (
            "partitions",
            "CPU s a million events",
            "of 4",
            "commits",
            "ms a commit",
            "bytes an event",
        ),
    )
    four = costs[1, 4].cpu
    for (_, count), cost in costs.items():
        table.add(
            f"{count}",
            f"{cost.cpu / events * 1e6:.1f}",
            f"{cost.cpu / four:.2f}",
            f"{cost.commits}",
            f"{cost.seconds / cost.commits * 1e3:.1f}",
            f"{cost.store_bytes / events:.0f}",
        )
    table.note("bytes between the worker and Redis; a round commits each of its partitions")
    return table
