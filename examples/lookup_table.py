"""In-memory lookup table of every customer's segment.

Needs: pip install kafka-python

Reads the compacted topic from its start each time, so nothing is stored and no offset committed;
then prints each move as it arrives.

KAFKA_BOOTSTRAP_SERVERS=localhost:9092 python lookup_table.py
"""

import json
import os
from dataclasses import dataclass

from kafka import KafkaConsumer, TopicPartition
from kafka.consumer.fetcher import ConsumerRecord

TOPIC = "customer-segments.v1"


@dataclass(frozen=True)
class Row:
    """The stored row of a customer: as little as necessary."""

    segment: str | None
    version: int
    marketing: bool | None


def apply(table: dict[str, Row], record: ConsumerRecord) -> str | None:
    """Apply a record; return a description of the change, None without one."""
    customer = record.key.decode()
    version = int(dict(record.headers)["livesegments-version"])
    known = table.get(customer)
    if known and version <= known.version:
        return None  # duplicate
    if record.value is None:  # erased: nothing may be kept
        table.pop(customer, None)
        return f"{customer} forgotten" if known else None
    state = json.loads(record.value)  # unknown fields are ignored
    segment = state["segment"] and state["segment"]["id"]
    table[customer] = Row(segment, version, state["consent"]["marketing"])
    if known and known.segment == segment:
        return None
    return f"{customer} {known.segment if known else None} -> {segment}"


def audience(table: dict[str, Row], segment: str) -> list[str]:
    """Return the customers of a segment that may be contacted: all but those that opted out."""
    return [
        customer
        for customer, row in table.items()
        if row.segment == segment and row.marketing is not False
    ]


def main() -> None:
    """Follow the topic until Ctrl-C."""
    consumer = KafkaConsumer(
        bootstrap_servers=os.environ.get("KAFKA_BOOTSTRAP_SERVERS", "localhost:9092"),
        isolation_level="read_committed",
        enable_auto_commit=False,
    )
    partitions = [TopicPartition(TOPIC, n) for n in consumer.partitions_for_topic(TOPIC)]
    consumer.assign(partitions)
    consumer.seek_to_beginning(*partitions)
    ends = consumer.end_offsets(partitions)
    table: dict[str, Row] = {}
    complete = False
    while True:
        for records in consumer.poll(500).values():
            for record in records:
                news = apply(table, record)
                if complete and news:
                    print(news, flush=True)
        if not complete and all(consumer.position(tp) >= ends[tp] for tp in partitions):
            complete = True
            segments = sorted({row.segment for row in table.values() if row.segment})
            sizes = {segment: len(audience(table, segment)) for segment in segments}
            print(f"{len(table)} customers; may be written to: {json.dumps(sizes)}", flush=True)


if __name__ == "__main__":
    main()
