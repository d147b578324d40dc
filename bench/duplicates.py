"""Cost of deduplication: memory, and time relative to decoding."""

import json
import tempfile
import time
from pathlib import Path

import numpy as np
import redis
from kafka import TopicPartition
from kafka.consumer.fetcher import ConsumerRecord

from bench.report import Table
from livesegments.app import processing_config
from livesegments.config.settings import Settings
from livesegments.consumers.decoding import decode_batch
from livesegments.contracts.topics import PURCHASES
from livesegments.features.dedup import DedupWindow
from livesegments.store.checkpoint import Checkpoint
from livesegments.store.partitions import Commit, Partitions
from tests.servers import RedisServer

SIZE, BATCH, ROUNDS = 1_000_000, 5_000, 20
RULES = processing_config(Settings())


def run(size: int = SIZE, batch: int = BATCH) -> Table:
    """Fill the dedup window of one partition, then decode batches with and without it."""
    rng = np.random.default_rng(0)
    table = Table(f"Duplicates: {size:,} events remembered in one partition", ("", "cost"))
    seen, ring = _filled(size, batch, rng)
    held = sum(run.hashes.nbytes + run.places.nbytes for run in seen.runs)
    with tempfile.TemporaryDirectory() as folder, RedisServer(Path(folder)) as server:
        client = redis.Redis.from_url(server.url, protocol=2)
        store = Partitions(client, "bench")
        before = int(dict(client.info("memory"))["used_memory"])
        for version, start in enumerate(range(0, len(ring), batch * 8)):
            write = (start, ring[start : start + batch * 8])
            _commit(store, version, write)
        used = int(dict(client.info("memory"))["used_memory"]) - before
        began = time.perf_counter()
        DedupWindow.from_ring(size, seen.count, store.ring(0))
        loading = time.perf_counter() - began
        client.close()
    table.add("Redis, bytes an event", f"{used / size:.1f}")
    table.add("worker, bytes an event", f"{held / size:.1f}")
    without, with_it = _seconds(batch, rng, None), _seconds(batch, rng, seen)
    table.add("decoding with it, ratio of without", f"{with_it / without:.2f}")
    table.add(
        "loading at a takeover, ratio of decoding as many", f"{loading / (without * size):.3f}"
    )
    return table


def _filled(size: int, batch: int, rng: np.random.Generator) -> tuple[DedupWindow, bytes]:
    seen, ring = DedupWindow(size), bytearray(8 * size)
    for _ in range(2 * size // batch):
        hashes = rng.integers(0, 2**64, batch, np.uint64)
        seen, _, _ = seen.after(hashes)
        for at, part in seen.ring_writes(hashes):
            ring[at : at + len(part)] = part
    return seen, bytes(ring)


def _commit(store: Partitions, version: int, write: tuple[int, bytes]) -> None:
    before = Checkpoint(version=version, nonce="0" * 16) if version else None
    after = Checkpoint(version=version + 1, nonce="0" * 16)
    if not store.commit([Commit(0, before, after, ring=[write])])[0]:
        raise RuntimeError("a commit was refused")


def _seconds(batch: int, rng: np.random.Generator, seen: DedupWindow | None) -> float:
    """Return the median seconds to decode an event."""
    seconds: list[float] = []
    for _ in range(ROUNDS):
        polled = {TopicPartition(PURCHASES, 0): _records(batch, rng)}
        began = time.perf_counter()
        decoded = decode_batch(polled, RULES, {0: seen})
        seconds.append((time.perf_counter() - began) / batch)
        recall = decoded.slices[0].recall
        seen = recall.seen if recall else None
    return float(np.median(seconds))


def _records(n: int, rng: np.random.Generator) -> list[ConsumerRecord]:
    records = []
    for offset, number in enumerate(rng.integers(0, 2**62, n).tolist()):
        value = {
            "event_id": f"{number:032x}",
            "customer_id": f"c{number % 20_000}",
            "occurred_at": "2024-01-01T00:00:00Z",
            "kind": "purchase",
            "amount": 12.5,
            "currency": "USD",
        }
        key, body = value["customer_id"].encode(), json.dumps(value).encode()  # type: ignore[attr-defined]
        records.append(
            ConsumerRecord(PURCHASES, 0, 0, offset, 0, 0, key, body, [], None, -1, -1, -1)
        )
    return records
