"""Handing a micro-batch's output to kafka-python in batches, relative to record by record."""

import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median

from bench.report import Table
from livesegments.contracts.cloudevents import SEGMENT_CHANGE, shared_headers
from livesegments.contracts.topics import CHANGES
from livesegments.producers import record_batch
from livesegments.producers.publisher import BATCH_BYTES
from livesegments.producers.record_batch import BatchProducer
from livesegments.store.outbox import Output
from tests.servers import KafkaServer, fresh_topics

RECORDS, VALUE_BYTES, RUNS = 20_000, 450, 7


def _outputs(records: int) -> list[Output]:
    shared = tuple(
        shared_headers(
            event_type=SEGMENT_CHANGE,
            time="1970-01-01T00:00:00.000000Z",
            nonce="0" * 16,
            version=1,
            group="livesegments",
        )
    )
    value = b"x" * VALUE_BYTES
    return [
        Output(CHANGES, b"customer-%06d" % i, value, [("ce_id", b"%036d" % i)], shared)
        for i in range(records)
    ]


def _one_by_one(producer: BatchProducer, outputs: Sequence[Output]) -> None:
    sent = 0
    for each in outputs:
        # As in the service: a second batch in the queue makes every record more expensive.
        sent += each.size
        if sent > BATCH_BYTES:
            producer.flush()
            sent = 0
        producer.send(CHANGES, key=each.key, value=each.value, headers=each.headers, partition=0)


def _in_batches(producer: BatchProducer, outputs: Sequence[Output]) -> None:
    for _, batch in record_batch.cut(outputs, lambda _: BATCH_BYTES):
        record_batch.send(producer, CHANGES, 0, batch)
        producer.flush()


def _seconds(
    producer: BatchProducer, outputs: Sequence[Output], send: Callable[..., None]
) -> tuple[float, float]:
    wall, cpu = time.perf_counter(), time.process_time()
    producer.begin_transaction()
    send(producer, outputs)
    producer.commit_transaction()
    return time.perf_counter() - wall, time.process_time() - cpu


def run(records: int = RECORDS, runs: int = RUNS) -> Table:
    """Measure transactions, interleaved; return medians."""
    outputs = _outputs(records)
    found: dict[str, list[tuple[float, float]]] = {"one by one": [], "in batches": []}
    with (
        tempfile.TemporaryDirectory() as folder,
        KafkaServer(Path(folder), measured=True) as kafka,
    ):
        fresh_topics(kafka.bootstrap, 1)
        producer = BatchProducer(
            bootstrap_servers=kafka.bootstrap,
            transactional_id="bench",
            linger_ms=1_000,
            batch_size=BATCH_BYTES + 128 * 1024,
            metrics_enabled=False,
        )
        producer.init_transactions()
        for _ in range(runs):
            found["one by one"].append(_seconds(producer, outputs, _one_by_one))
            found["in batches"].append(_seconds(producer, outputs, _in_batches))
        producer.close()
    table = Table(
        f"Sending: transactions of {records:,} changes to Apache Kafka, medians of {runs}",
        ("", "of its time", "of its CPU"),
    )
    base = [median(each) for each in zip(*found["one by one"], strict=True)]
    for name, times in found.items():
        wall, cpu = (median(each) for each in zip(*times, strict=True))
        table.add(name, f"{wall / base[0]:.2f}", f"{cpu / base[1]:.2f}")
    table.note(f"one by one takes {base[1] / records * 1e6:.1f} µs of CPU a record")
    return table
