"""Run a campaign action for each move between segments.

Needs: pip install confluent-kafka

A consumer group: run up to one process per partition. Offsets are committed after the action, so
some actions are repeated after a crash: pass ce_id, which stays the same, to the system that acts
as its idempotency key.

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
    """Delete your data about an erased customer here."""
    print(json.dumps({"forget": customer}), flush=True)


class Campaign:
    """Handles each record once, however the two topics interleave.

    Keep both tables in your database: after a restart, a change may come whose opt-out or erasure
    was read before it.
    """

    def __init__(self) -> None:
        self.latest: dict[str, int] = {}  # highest version handled per customer
        self.refused: dict[str, int] = {}  # customer -> version of the opt-out

    def handle(self, message: Any) -> None:
        """Handle one record."""
        if message.error():
            raise KafkaException(message.error())
        headers = {name: value.decode() for name, value in message.headers()}
        customer, version = message.key().decode(), int(headers["livesegments-version"])
        # Unknown fields are ignored.
        event: Any = json.loads(message.value()) if message.value() else None
        known = self.latest.get(customer, -1)
        if message.topic() == STATES:
            if event is None:  # older changes may still arrive
                self.latest[customer] = max(version, known)
                forget(customer)
            elif event["consent"]["marketing"] is False:
                self.refused[customer] = version
        elif version > known:  # otherwise a duplicate
            self.latest[customer] = version
            left, entered = event["previous_segment"], event["segment"]
            said_no = event["consent"]["marketing"] is False
            allowed = not said_no and self.refused.get(customer, -1) < version
            if left and entered and allowed and event["origin"] != "backfill":
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
    campaign = Campaign()
    try:
        while True:
            messages = consumer.consume(num_messages=500, timeout=1.0)
            for message in messages:
                campaign.handle(message)
            if messages:
                consumer.commit(asynchronous=False)
    finally:
        consumer.close()


if __name__ == "__main__":
    main()
