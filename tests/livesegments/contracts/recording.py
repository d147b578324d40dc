"""A run of the service that produces every kind of message, and the published examples from it.

``python -m tests.livesegments.contracts.recording`` regenerates ``docs/schemas/examples``.
"""

import json
import logging
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from kafka import KafkaProducer
from kafka.consumer.fetcher import ConsumerRecord

from livesegments.contracts.asyncapi import DOCS
from livesegments.contracts.events import BACKFILL, ORIGIN_HEADER
from livesegments.contracts.topics import (
    CHANGES,
    DEAD_LETTERS,
    DEFINITIONS,
    ERASURES,
    INPUTS,
    OUTPUTS,
    PROFILES,
    PURCHASES,
    REPLAYS,
    STATES,
)
from livesegments.operations.dead_letters import Selection
from livesegments.operations.dead_letters_replay import Rules, replay
from tests.load import load
from tests.servers import KafkaServer, RedisServer, fresh_topics
from tests.service import PARTITIONS, Service, erasure, profile, purchase, running

TRACE = ("traceparent", b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")

Topics = Mapping[str, list[ConsumerRecord]]


def record(kafka: KafkaServer, redis_server: RedisServer, folder: Path) -> Topics:
    """Run the service on a load of every kind; return all records of all topics."""
    fresh_topics(kafka.bootstrap)
    redis_server.flush()
    service = Service(kafka, redis_server, folder, {"SWITCH_MARGIN": "0", "MIN_DWELL": "0"})
    with running(service):
        service.send(
            profile(
                f"c{i:04d}",
                "2023-12-31T12:00:00Z",
                age=20 + i % 60,
                income=15_000 + 700 * i,
                location=("urban", "suburban", "rural")[i % 3],
                consent={"marketing": i % 10 != 0},
            )
            for i in range(200)
        )
        service.send(load(2_000))
        service.wait_for(service.has_model, "everyone is scored")
        _send_with(service, load(700, first=2_000), TRACE)
        _send_with(service, load(300, first=2_700), TRACE, (ORIGIN_HEADER, BACKFILL))
        day = "2024-01-23T12:00:00Z"
        asked = [erasure(f"c{i:04d}", day) for i in range(0, 40, 4)]
        gone = [(PROFILES, f"c{i:04d}".encode(), None) for i in range(1, 40, 4)]
        bad = purchase("c0002", day, event_id="in-euros", currency="EUR")
        known = [
            profile(f"c{i:04d}", day, age=30 + i, income=60_000, location="urban")
            for i in range(2, 40, 4)
        ]
        no = [
            profile(f"c{i:04d}", day, age=30, location="urban", consent={"marketing": False})
            for i in range(3, 80, 4)
        ]
        service.send([*known, *asked, *gone, *no, bad])
        service.wait()
        replay(service.config, Selection(reason="bad_currency"), Rules("USD", refused_too=True))
        # That much later, the windows of all other customers are empty.
        service.send(purchase(f"late{i}", "2024-07-01T10:00:00Z") for i in range(40))
        service.wait()
        service.wait_for(lambda: _has_expired(service), "windows expire")
        service.verified()
        service.leave(service.workers[0])
    return {topic: service.records(topic) for topic in (*INPUTS, *OUTPUTS, REPLAYS)}


def headers_of(record: ConsumerRecord) -> dict[str, str]:
    """Return a record's headers as text."""
    return {name: value.decode() for name, value in record.headers}


def version_of(record: ConsumerRecord) -> int:
    """Return the version that published a record."""
    return int(headers_of(record)["livesegments-version"])


def examples(read: Topics) -> dict[str, ConsumerRecord]:
    """Choose an example of each message by name: a move, with the messages before and after it."""
    change = next(
        record
        for record in reversed(read[CHANGES])
        if TRACE in record.headers
        and (document := json.loads(record.value))["change"] == "reassigned"
        and document["origin"] == "live"
        and len(document["explanation"]) == 2
        and document["consent"]["marketing"]
    )
    document = json.loads(change.value)
    cause = document["cause"]
    return {
        "segment-change": change,
        "purchase": next(
            record
            for record in read[PURCHASES]
            if (record.partition, record.offset) == (cause["partition"], cause["offset"])
        ),
        "customer-segment": next(
            record
            for record in read[STATES]
            if record.key == change.key and version_of(record) == document["version"]
        ),
        "customer-profile": next(
            record for record in read[PROFILES] if record.key == change.key and record.value
        ),
        "customer-profile-deleted": next(r for r in read[PROFILES] if r.value is None),
        "customer-erasure": read[ERASURES][-1],
        "customer-segment-erased": next(
            record for record in reversed(read[STATES]) if record.value is None
        ),
        "segment-definition": next(
            record
            for record in reversed(read[DEFINITIONS])
            if record.key.decode() == document["segment"]["id"]
        ),
        "dead-letter-replay": read[REPLAYS][0],
        "dead-letter": next(r for r in read[DEAD_LETTERS] if b"in-euros" in (r.value or b"")),
    }


def main() -> None:
    """Write the examples."""
    logging.disable(logging.ERROR)
    with (
        TemporaryDirectory() as folder,
        KafkaServer(Path(folder) / "kafka") as kafka,
        RedisServer(Path(folder) / "redis") as redis_server,
    ):
        chosen = examples(record(kafka, redis_server, Path(folder)))
    for name, each in chosen.items():
        value: Any = None if each.value is None else each.value.decode()
        if value is not None and name != "dead-letter":
            value = json.loads(value)
        example = {"key": each.key.decode(), "headers": headers_of(each), "value": value}
        file = DOCS / "schemas" / "examples" / f"{name}.json"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(example, indent=2) + "\n", encoding="utf-8")


def _send_with(
    service: Service,
    events: list[tuple[str, bytes | None, bytes | None]],
    *headers: tuple[str, bytes],
) -> None:
    producer = KafkaProducer(**service.config, linger_ms=10)
    futures = [producer.send(t, key=k, value=v, headers=list(headers)) for t, k, v in events]
    producer.flush(30)
    for future in futures:
        future.get(0)
    producer.close()


def _has_expired(service: Service) -> bool:
    changes = service.records(CHANGES)
    expired = {each.partition for each in changes if b'"origin":"expiry"' in each.value}
    return expired == set(range(PARTITIONS))


if __name__ == "__main__":
    main()
