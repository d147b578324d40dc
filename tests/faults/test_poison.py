"""Poison records: each becomes a dead letter, and the valid records around it count."""

from collections import Counter
from collections.abc import Iterator

import pytest
from kafka import KafkaProducer

from livesegments.contracts.dead_letters import parse
from livesegments.contracts.partitioning import Partitioning
from livesegments.contracts.topics import DEAD_LETTERS, ERASURES, PROFILES, PURCHASES
from tests.service import PARTITIONS, RawName, Service, purchase

pytestmark = pytest.mark.servers

DEEP = 200_000
Poison = tuple[str, bytes | None, bytes | None, list[tuple[str, bytes]]]


NAMES = [f"c{n}" for n in range(400)]
CUSTOMERS = [name for name in NAMES if not Partitioning("murmur2", PARTITIONS).of_customer(name)]
"""Customers of partition 0."""


def good(n: int, headers: list[tuple[str, bytes]] | None = None) -> Poison:
    topic, key, value = purchase(CUSTOMERS[n % 60], "2024-01-01T00:00:00Z", event_id=f"good-{n}")
    return topic, key, value, headers or []


def poison() -> Iterator[tuple[str, Poison]]:
    """Yield records that violate every contract, each with its reason."""
    _, key, value, _ = good(0)
    assert value is not None
    yield "null_value", (PURCHASES, b"c1", None, [])
    yield "null_value", (ERASURES, b"c1", None, [(RawName(b"\xff"), b"name is no UTF-8")])
    yield "key_mismatch", (PURCHASES, None, value, [])
    yield "key_mismatch", (PURCHASES, b"\xff\xfe", value, [(RawName(b"\x80\xff"), b"")])
    yield "not_json", (PURCHASES, key, b"", [])
    yield "not_json", (PURCHASES, key, b"\xff" * 1_000, [("traceparent", b"\xff")])
    yield "too_large", (PURCHASES, key, b"[" * DEEP + b"]" * DEEP, [])
    yield "not_json", (PROFILES, key, b'{"a":' * 10_000 + b"1" + b"}" * 10_000, [])
    yield "too_large", (PURCHASES, key, b"9" * 900_000, [])
    yield "too_large", (PURCHASES, b"k" * 900_000, value, [])
    yield "not_json", (PURCHASES, key, b"{", [("h" * 1_000, b"v" * 1_000)] * 400)
    yield "not_json", (PURCHASES, key, b"{", [(RawName(b"\xf0\x28"), b"")] * 20_000)
    # Compressed to a few kilobytes; uncompressed too large for any topic.
    yield "too_large", (PURCHASES, key, b" " * 12_000_000, [])
    yield "not_json", (PURCHASES, key, b"", [("big", b"\0" * 12_000_000)])


def test_each_poison_record_is_a_dead_letter_and_the_good_ones_around_it_count(
    service: Service,
) -> None:
    service.start()
    producer = KafkaProducer(
        **service.config, compression_type="gzip", max_request_size=64_000_000, linger_ms=0
    )
    reasons: Counter[str] = Counter()
    for n, (reason, (topic, key, value, headers)) in enumerate(poison()):
        reasons[reason] += 1
        around = [good(10 * n + i, [(RawName(b"\xc3\x28"), b"")] * (i % 2)) for i in range(10)]
        for record in (*around[:5], (topic, key, value, headers), *around[5:]):
            producer.send(record[0], key=record[1], value=record[2], headers=record[3], partition=0)
        producer.flush(30)
    producer.close()
    service.wait()
    letters = [parse(letter.headers) for letter in service.records(DEAD_LETTERS)]
    assert Counter(letter.reason for letter in letters) == reasons
    report = service.verified()
    [records] = [check for check in report.checks if check.name == "records"]
    # Tiles, profile, its time and both consents of each customer of the good records; the one
    # customer whose only profile was rejected has only tiles.
    assert records.cases == 5 * 60 - 4
