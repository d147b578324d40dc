"""Total bytes of Redis memory per customer."""

import tempfile
import uuid
from dataclasses import replace
from pathlib import Path

import numpy as np
import redis

from bench.report import Table
from livesegments.features.aggregate import aggregate_purchases
from livesegments.features.record_codec import RecordShape, empty, encode
from livesegments.store.checkpoint import Checkpoint
from livesegments.store.partitions import Commit, Partitions
from tests.servers import RedisServer

CUSTOMERS, CHUNK, GOAL = 100_000, 5_000, 350
IDS = ("12 characters", "UUIDs")
SHAPES = {
    "bytes a customer": RecordShape(30, 5, 5),
    "rfm": RecordShape(30, 3, 5),
    "12 segments of 7 features": RecordShape(30, 7, 12),
}
"""The default segmentation, the other built-in one, and the largest."""


def run(customers: int = CUSTOMERS) -> Table:
    """Commit customers through the service's own script and measure the growth of Redis."""
    table = Table(
        f"Memory: {customers:,} customers in one partition of Redis, bytes a customer",
        ("ids", *SHAPES),
    )
    found: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory() as folder, RedisServer(Path(folder)) as server:
        client = redis.Redis.from_url(server.url, protocol=2)
        _growth(client, IDS[0], SHAPES["rfm"], CHUNK)  # the script and the buffers, once
        for kind in IDS:
            found[kind] = [_growth(client, kind, shape, customers) for shape in SHAPES.values()]
            table.add(kind, *(f"{used:.0f}" for used in found[kind]))
        client.close()
    records = (f"{len(encode(empty(1, shape))[0])}" for shape in SHAPES.values())
    table.note(f"a record itself: {', '.join(records)} bytes")
    default = max(used[0] for used in found.values())
    table.goal(f"<= {GOAL} bytes, default segmentation", default <= GOAL)
    return table


def _growth(client: "redis.Redis", kind: str, shape: RecordShape, customers: int) -> float:
    """Return the bytes of Redis for each of the customers committed."""
    client.flushall()
    rng = np.random.default_rng(0)
    store = Partitions(client, "bench")
    before = int(dict(client.info("memory"))["used_memory"])
    progress = Checkpoint(nonce="0" * 16)
    expected: Checkpoint | None = None
    for start in range(0, customers, CHUNK):
        n = min(CHUNK, customers - start)
        ids = [
            f"c{start + i:011d}" if kind != "UUIDs" else str(uuid.UUID(int=start + i))
            for i in range(n)
        ]
        records = empty(n, shape)
        who = np.repeat(np.arange(n), 12)
        aggregate_purchases(
            records,
            who,
            6_000 + rng.integers(0, 30, len(who)),
            np.ones(len(who), np.int64),
            rng.integers(100, 20_000, len(who)),
            np.zeros(n, np.int64),
        )
        progress = replace(progress, version=progress.version + 1)
        blobs = dict(zip(ids, encode(records), strict=True))
        if not store.commit([Commit(0, expected, progress, records=blobs)])[0]:
            raise RuntimeError("a commit was refused")
        expected = progress
    return (int(dict(client.info("memory"))["used_memory"]) - before) / customers
