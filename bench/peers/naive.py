"""The tutorial loop: for each event a round trip to Redis and a step of River.

At least once: offsets are committed after the resulting changes have been sent. It runs in the
bench's own virtual environment.
"""

import json
import math
import os
import signal
from datetime import datetime
from typing import Any

import redis
from kafka import KafkaConsumer, KafkaProducer
from river import cluster, preprocessing

TILES, TILE_SECONDS = 30, 3 * 86_400


def features(store: Any, customer: str, tile: int, cents: int) -> tuple[dict[str, float], int]:
    """Count a purchase; return the rolling features and the last published segment (-1: none)."""
    key = f"customer:{customer}"
    with store.pipeline(transaction=False) as pipe:
        pipe.hincrby(key, f"n:{tile}", 1)
        pipe.hincrby(key, f"c:{tile}", cents)
        pipe.hgetall(key)
        record = pipe.execute()[2]
    purchases = spend = 0
    for name, value in record.items():
        kind, _, at = name.partition(":")
        if at and int(at) > tile - TILES:
            if kind == "n":
                purchases += int(value)
            else:
                spend += int(value)
    vector = {"purchases": math.log1p(purchases), "spend": math.log1p(spend / 100)}
    return vector, int(record.get("segment", -1))


def main() -> None:
    """Run until SIGTERM."""
    bootstrap, output = os.environ["PEER_BOOTSTRAP"], os.environ["PEER_OUTPUT"]
    stopped: list[int] = []
    signal.signal(signal.SIGTERM, lambda signum, _: stopped.append(signum))
    consumer = KafkaConsumer(
        os.environ["PEER_INPUT"],
        bootstrap_servers=bootstrap,
        group_id=os.environ["PEER_GROUP"],
        auto_offset_reset="earliest",
        enable_auto_commit=False,
        value_deserializer=json.loads,
    )
    producer = KafkaProducer(
        bootstrap_servers=bootstrap, value_serializer=lambda value: json.dumps(value).encode()
    )
    store = redis.Redis.from_url(os.environ["PEER_REDIS"], decode_responses=True)
    model = preprocessing.StandardScaler() | cluster.KMeans(n_clusters=5, seed=1)
    while not stopped:
        polled = consumer.poll(timeout_ms=500)
        for records in polled.values():
            for record in records:
                purchase = record.value
                customer, cents = purchase["customer_id"], round(purchase["amount"] * 100)
                at = datetime.fromisoformat(purchase["occurred_at"])
                tile = int(at.timestamp()) // TILE_SECONDS
                vector, before = features(store, customer, tile, cents)
                model.learn_one(vector)
                segment = model.predict_one(vector)
                if segment != before:
                    producer.send(output, key=record.key, value=[customer, before, segment])
                    store.hset(f"customer:{customer}", "segment", segment)
        if polled:
            producer.flush()
            consumer.commit()
    consumer.close(autocommit=False)
    producer.close()


if __name__ == "__main__":
    main()
