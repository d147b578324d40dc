"""Act on each move between segments.

Needs: pip install confluent-kafka

A consumer group: run as many as there are partitions. Offsets are committed after the action, so
after a crash some actions are asked for again: give ce_id, which is then the same, to whatever
acts, as its idempotency key.

KAFKA_BOOTSTRAP_SERVERS=localhost:9092 python campaign_confluent.py
"""

import json
import os
from typing import Any

from confluent_kafka import Consumer, KafkaException

CHANGES, STATES = "segment-changes.v1", "customer-segments.v1"


def act(key: str, customer: str, left: str, entered: str) -> None:
    """Put your campaign here."""
    action = "win-back" if left == "high-value-customers" else "welcome"
    move = {"key": key, "customer": customer, "from": left, "to": entered, "action": action}
    print(json.dumps(move), flush=True)


def forget(customer: str) -> None:
    """Delete here what you hold of a customer who was erased."""
    print(json.dumps({"forget": customer}), flush=True)


def handle(message: Any, latest: dict[str, int]) -> None:
    """Handle one record; `latest` is the highest version handled of each customer."""
    if message.error():
        raise KafkaException(message.error())
    headers = {name: value.decode() for name, value in message.headers()}
    customer, version = message.key().decode(), int(headers["livesegments-version"])
    known = latest.get(customer, -1)  # versions compare across both topics
    if message.topic() == STATES:
        if message.value() is None:
            latest[customer] = max(version, known)
            forget(customer)
        return  # of other states the changes tell
    if version <= known:
        return  # seen before, or older than an erasure
    latest[customer] = version
    change = json.loads(message.value())  # unknown fields are ignored
    if change["consent"]["marketing"] is False:
        return
    left, entered = change["previous_segment"], change["segment"]
    if left and entered:
        act(headers["ce_id"], customer, left["id"], entered["id"])


def main() -> None:
    """Follow both topics until Ctrl-C."""
    consumer = Consumer(
        {
            "bootstrap.servers": os.environ.get("KAFKA_BOOTSTRAP_SERVERS", "localhost:9092"),
            "group.id": os.environ.get("GROUP_ID", "campaign"),
            "isolation.level": "read_committed",
            "auto.offset.reset": "earliest",
            "enable.auto.commit": False,
        }
    )
    consumer.subscribe([CHANGES, STATES])
    latest: dict[str, int] = {}
    try:
        while True:
            messages = consumer.consume(num_messages=500, timeout=1.0)
            for message in messages:
                handle(message, latest)
            if messages:
                consumer.commit(asynchronous=False)
    finally:
        consumer.close()


if __name__ == "__main__":
    main()
