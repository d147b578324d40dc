"""Cost of a running sweep to live events."""

import tempfile
from pathlib import Path
from statistics import median

from bench.report import Table
from bench.throughput import CUSTOMERS, PARTITIONS, produce, segment
from tests.servers import KafkaServer, RedisServer, fresh_topics

EVENTS, RUNS = 300_000, 3
ALWAYS, NEVER = 10.0, 0.05
"""Seconds of event time between two events: a tile every few micro-batches, or one tile for all."""


def run(events: int = EVENTS, runs: int = RUNS) -> Table:
    """Measure interleaved runs; return medians."""
    seconds: dict[float, list[float]] = {ALWAYS: [], NEVER: []}
    with tempfile.TemporaryDirectory() as folder:
        where = Path(folder)
        with (
            KafkaServer(where / "kafka", measured=True) as kafka,
            RedisServer(where / "redis") as store,
        ):
            for _ in range(runs):
                for step, taken in seconds.items():
                    fresh_topics(kafka.bootstrap, PARTITIONS)
                    produce(kafka.bootstrap, events, step)
                    store.flush()
                    taken.append(segment(kafka, store, LIVESEGMENTS_REFIT="off")[0])
    table = Table(
        f"Sweeps: {events:,} events of {CUSTOMERS:,} skewed customers, {PARTITIONS} partitions,"
        f" Apache Kafka and Redis, medians of {runs}",
        ("", "events/s", "ratio"),
    )
    base = median(seconds[NEVER])
    for name, step in (("events alone", NEVER), ("a sweep under way all the time", ALWAYS)):
        each = median(seconds[step])
        table.add(name, f"{events / each:,.0f}", f"{base / each:.2f}")
    tiles = int(events * ALWAYS) // (3 * 86_400)
    table.note(f"{tiles} sweeps over all customers while events arrive; no window empties")
    return table
