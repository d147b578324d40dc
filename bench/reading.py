"""Decoding a fetched partition into records: our batch reader relative to kafka-python's own."""

import json
import time
from collections.abc import Mapping
from statistics import median
from typing import Any

from kafka import TopicPartition
from kafka.consumer.fetcher import Fetcher
from kafka.record import MemoryRecords
from kafka.record.default_records import DefaultRecordBatchBuilder

from bench.report import Table
from livesegments.consumers.columnar_reader import PartitionRecords

RECORDS, OF_A_BATCH, RUNS = 20_000, 1_000, 15


def _fetched(records: int) -> bytes:
    data = b""
    for start in range(0, records, OF_A_BATCH):
        builder = DefaultRecordBatchBuilder(2, 0, False, -1, -1, -1, 10_000_000)
        for i in range(OF_A_BATCH):
            value: dict[str, object] = {
                "event_id": f"e{start + i:09d}",
                "customer_id": f"customer-{i:06d}",
            }
            value |= {"occurred_at": "2024-01-01T00:00:00Z", "kind": "purchase", "amount": 12.34}
            builder.append(i, 1_700_000_000_000 + i, b"customer-%06d" % i, _bytes(value), [])
        data += bytes(builder.build())
    return data


def _bytes(value: Mapping[str, object]) -> bytes:
    return json.dumps({**value, "currency": "USD", "items": 3, "category": "groceries"}).encode()


def _seconds(data: bytes, reader: Any, records: int) -> float:
    fetched = reader(
        0,
        TopicPartition("purchases.v1", 0),
        MemoryRecords(data),
        None,
        None,
        check_crcs=True,
        isolation_level=1,
        aborted_transactions=None,
        metric_aggregator=None,
        on_drain=lambda _: None,
    )
    started = time.perf_counter()
    assert len(fetched.take(records)) == records
    return time.perf_counter() - started


def run(records: int = RECORDS, runs: int = RUNS) -> Table:
    """Measure interleaved runs; return medians."""
    data = _fetched(records)
    pairs = [
        (
            _seconds(data, Fetcher.PartitionRecords, records),
            _seconds(data, PartitionRecords, records),
        )
        for _ in range(runs)
    ]
    theirs, ours = (median(times) for times in zip(*pairs, strict=True))
    table = Table(
        f"Reading: {records:,} fetched purchases to records, checksums included",
        ("", "of kafka-python's time"),
    )
    table.add("kafka-python", "1.00")
    table.add("ours", f"{ours / theirs:.2f}")
    return table
