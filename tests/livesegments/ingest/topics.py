"""Source topics and what becomes of their records, for tests with a broker."""

import json
import sys
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from kafka import KafkaConsumer, KafkaProducer, TopicPartition
from kafka.admin import KafkaAdminClient
from kafka.consumer.fetcher import ConsumerRecord

from tests.service import Service

TOPIC = "shop.orders"
PARTITIONS = 3
INGEST = [sys.executable, "-m", "livesegments.cli", "ingest"]

Sent = tuple[bytes | None, bytes | None]
"""Key and value."""

ORDERS = """
SELECT value->>'$.order.number' AS event_id,
       value->>'$.customer.id' AS customer_id,
       value->>'$.created_at' AS occurred_at,
       (value->>'$.total')::DECIMAL(18,2) * rates.usd AS amount
FROM source JOIN rates ON rates.currency = value->>'$.currency'
WHERE value->>'$.status' = 'paid'
"""
RATES = "currency,usd\nUSD,1.0\nEUR,1.25\nGBP,1.5\n"


def order(number: int, **changed: Any) -> Sent:
    """Return an order, keyed by its number."""
    value = {
        "order": {"number": f"o-{number}"},
        "customer": {"id": f"c{number % 17}"},
        "created_at": f"2026-03-{1 + number % 28:02}T08:30:00Z",
        "total": f"{number % 90 + 10}.50",
        "currency": ("USD", "EUR", "GBP")[number % 3],
        "status": "cancelled" if number % 10 == 9 else "paid",
        **changed,
    }
    return value["order"]["number"].encode(), json.dumps(value).encode()


def write_sources(folder: Path, **changed: str) -> Path:
    """Write a file of one source, its query and a table of rates."""
    source = {"topic": TOPIC, "format": "json", "into": "purchases", "query": "orders.sql"}
    lines = [
        f'{name} = "{value}"' for name, value in {"name": "orders", **source, **changed}.items()
    ]
    (folder / "orders.sql").write_text(ORDERS)
    (folder / "rates.csv").write_text(RATES)
    path = folder / "SOURCES.toml"
    path.write_text(
        "[[source]]\n" + "\n".join(lines) + '\n[[table]]\nname = "rates"\nfile = "rates.csv"\n'
    )
    return path


def create(service: Service, name: str = TOPIC, partitions: int = PARTITIONS) -> None:
    """Create an empty topic."""
    admin = KafkaAdminClient(**service.config)
    try:
        admin.create_topics(
            {name: {"num_partitions": partitions, "replication_factor": 1}}, wait_for_metadata=True
        )
    finally:
        admin.close()


def send(service: Service, records: Iterable[Sent], topic: str = TOPIC, **more: Any) -> int:
    """Produce records and wait for acknowledgement; return their number."""
    producer = KafkaProducer(**service.config, linger_ms=10, batch_size=200_000)
    futures = [producer.send(topic, key=k, value=v, **more) for k, v in records]
    producer.flush(30)
    for future in futures:
        future.get(0)
    producer.close()
    return len(futures)


def read(service: Service, topic: str) -> list[ConsumerRecord]:
    """Return all committed records of a topic, by partition in offset order."""
    consumer = KafkaConsumer(**service.config, isolation_level="read_committed")
    tps = [TopicPartition(topic, p) for p in consumer.partitions_for_topic(topic) or ()]
    consumer.assign(tps)
    consumer.seek_to_beginning(*tps)
    ends = consumer.end_offsets(tps)
    found: list[ConsumerRecord] = []
    while any(consumer.position(tp) < ends[tp] for tp in tps):
        for records in consumer.poll(100).values():
            found += records
    consumer.close()
    return sorted(found, key=lambda record: (record.partition, record.offset))


def values(records: Sequence[ConsumerRecord]) -> list[dict[str, Any]]:
    """Return the values of records as JSON."""
    return [json.loads(each.value) for each in records]


def left(service: Service, topic: str = TOPIC, group: str = "livesegments-ingest-orders") -> int:
    """Return the number of records of a topic that a group has not committed."""
    consumer = KafkaConsumer(**service.config, group_id=group, enable_auto_commit=False)
    tps = [TopicPartition(topic, p) for p in consumer.partitions_for_topic(topic) or ()]
    ends = consumer.end_offsets(tps)
    missing: int = sum(ends[tp] - (consumer.committed(tp) or 0) for tp in tps)
    consumer.close(autocommit=False)
    return missing


def wait(service: Service, seconds: float = 60.0, **group: str) -> None:
    """Wait until a group has committed all records of a topic."""
    deadline = time.monotonic() + seconds
    while left(service, **group):
        if time.monotonic() > deadline:
            raise AssertionError(f"{left(service, **group)} records left:\n{service.tail()}")
        time.sleep(0.1)
