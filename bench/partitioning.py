"""Cost of the checks of keys and event ids: microseconds an event, and share of decoding."""

import json
import time
from collections.abc import Callable
from dataclasses import replace
from statistics import median

import numpy as np
from kafka import TopicPartition
from kafka.consumer.fetcher import ConsumerRecord

from bench.report import Table
from livesegments.app import processing_config
from livesegments.config.settings import Settings
from livesegments.consumers.decoding import decode_batch
from livesegments.contracts.partitioning import PARTITIONERS, Partitioning, hash_keys
from livesegments.contracts.topics import PURCHASES
from livesegments.features.dedup import fingerprints, hashes_of

EVENTS, PARTITIONS, RUNS = 20_000, 12, 15


def run(events: int = EVENTS, runs: int = RUNS) -> Table:
    """Time the hash of keys by each partitioner, and the hash of a purchase's content."""
    table = Table(
        f"Keys and event ids: {events:,} purchases of {PARTITIONS} partitions in a micro-batch",
        ("", "µs an event", "share of decoding"),
    )
    partitioning = Partitioning("murmur2", PARTITIONS)
    polled = _polled(events, partitioning)
    rules = replace(processing_config(Settings()), partitioning=partitioning)
    decoded = decode_batch(polled, rules).purchases
    keys = [name.encode() for name in decoded.customer_id]
    whole = _micros(lambda: decode_batch(polled, rules), events, runs)
    table.add("decoding, with the partition of each key", f"{whole:.2f}", "")
    for partitioner in PARTITIONERS:
        each = Partitioning(partitioner, PARTITIONS)
        cost = _micros(lambda each=each: each.of_keys(keys), events, runs)  # type: ignore[misc]
        table.add(f"of it, partition by {partitioner}", f"{cost:.2f}", f"{cost / whole:.3f}")
    ids, hashes = hashes_of(decoded.event_id), hash_keys(keys, "murmur2")
    columns = decoded.occurred_at, decoded.cents, decoded.count
    cost = _micros(lambda: fingerprints(ids, hashes, *columns), events, runs)
    table.add("deduplication, content of an event id", f"{cost:.2f}", f"{cost / whole:.3f}")
    return table


def _micros(call: Callable[[], object], events: int, runs: int) -> float:
    taken = []
    for _ in range(runs):
        began = time.perf_counter()
        call()
        taken.append(time.perf_counter() - began)
    return median(taken) * 1e6 / events


def _polled(events: int, partitioning: Partitioning) -> dict[TopicPartition, list[ConsumerRecord]]:
    rng = np.random.default_rng(0)
    polled: dict[TopicPartition, list[ConsumerRecord]] = {}
    for number in rng.integers(0, 2_000_000, events).tolist():
        customer = f"{number}"
        purchase: dict[str, object] = {"event_id": f"{number:032x}", "customer_id": customer}
        purchase |= {"occurred_at": "2024-01-01T00:00:00Z", "kind": "purchase"}
        purchase |= {"amount": 12.5, "currency": "USD"}
        tp = TopicPartition(PURCHASES, partitioning.of_customer(customer))
        there = polled.setdefault(tp, [])
        value = json.dumps(purchase).encode()
        there.append(
            ConsumerRecord(
                *(PURCHASES, tp.partition, 0, len(there), 1_710_000_000_000, 0),
                *(customer.encode(), value, [], None, -1, -1, -1),
            )
        )
    return polled
