"""Growth of a worker's memory over a long replay."""

import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from threading import Event, Thread
from typing import Any

import numpy as np

from bench.report import Table
from bench.throughput import CUSTOMERS, PARTITIONS
from bench.workers import Group, backlog, environment, purchases, resident_bytes, started
from tests.servers import KafkaServer, RedisServer, fresh_topics

MINUTES, PORTION, WARM_EVENTS = 2.5, 20_000, 160_000
STEP_SECONDS = 10.0
"""Event time between two purchases: windows advance, and sweeps run repeatedly."""
DEDUP_EVENTS = 20_000
"""Dedup window per partition: full after the first few portions, constant from then on."""
SAMPLE_SECONDS = 1.0
FLAT = 1.05
MB = 1e6


@dataclass(slots=True)
class Samples:
    """Resident set sizes over time of a worker and of its publisher's process, in bytes."""

    at: list[float] = field(default_factory=list)
    worker: list[int] = field(default_factory=list)
    publisher: list[int] = field(default_factory=list)

    def begin(self) -> None:
        """Drop the samples taken while caches filled."""
        self.at, self.worker, self.publisher = [], [], []

    def take(self, process: Any) -> None:
        """Take a sample."""
        found = resident_bytes(process)
        if process.pid in found:
            self.at.append(time.monotonic())
            self.worker.append(found.pop(process.pid))
            self.publisher.append(sum(found.values()))


def run(minutes: float = MINUTES) -> Table:
    """Replay purchases until caches are full, then for some minutes; compare its thirds."""
    samples, ended, events = Samples(), Event(), 0
    with tempfile.TemporaryDirectory() as folder:
        where = Path(folder)
        with (
            KafkaServer(where / "kafka", measured=True) as kafka,
            RedisServer(where / "redis") as store,
        ):
            fresh_topics(kafka.bootstrap, PARTITIONS)
            group = Group(kafka, store, PARTITIONS)
            settings = environment(kafka, store, LIVESEGMENTS_DEDUP_EVENTS=str(DEDUP_EVENTS))
            with started(1, settings) as [worker]:

                def watch() -> None:
                    while not ended.wait(SAMPLE_SECONDS):
                        samples.take(worker)

                group.wait_for_members(1)
                thread = Thread(target=watch)
                thread.start()
                until = float("inf")
                try:
                    while time.monotonic() < until:
                        with backlog(kafka, purchases(PORTION, CUSTOMERS, STEP_SECONDS, events)):
                            events += PORTION
                        group.wait_for_purchases()
                        if events == WARM_EVENTS:
                            samples.begin()
                            until = time.monotonic() + minutes * 60
                finally:
                    ended.set()
                    thread.join()
            group.close()
    return table_of(samples, events, minutes)


def table_of(samples: Samples, events: int, minutes: float) -> Table:
    """Return the table of the samples."""
    table = Table(
        f"Resident memory of a worker: {minutes:g} minutes of replay after the first"
        f" {WARM_EVENTS:,} events, {events:,} in all, {CUSTOMERS:,} customers, {PARTITIONS}"
        " partitions",
        ("", "first third MB", "last third MB", "ratio", "slope MB/h"),
    )
    third = len(samples.at) // 3
    hours = (np.array(samples.at) - samples.at[0]) / 3_600
    worst = 0.0
    for name, sizes in (("worker", samples.worker), ("its publisher", samples.publisher)):
        first, last = median(sizes[:third]), median(sizes[-third:])
        slope = float(np.polyfit(hours, np.array(sizes) / MB, 1)[0])
        worst = max(worst, last / first)
        table.add(
            name, f"{first / MB:.1f}", f"{last / MB:.1f}", f"{last / first:.3f}", f"{slope:+.1f}"
        )
    table.note(f"{DEDUP_EVENTS:,} remembered ids a partition (16 bytes each) instead of 1,000,000")
    table.note("of a short replay the slope says little: --minutes 60")
    table.goal(f"the last third <= {FLAT} of the first", worst <= FLAT)
    return table
