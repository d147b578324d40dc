"""Workers never log customers, whatever arrives and whatever fails."""

import re
from collections.abc import Iterator

import pytest
from kafka import KafkaProducer

from livesegments.contracts.topics import CHANGES, PROFILES, PURCHASES
from tests.service import Event, Service, erasure, profile, purchase

pytestmark = pytest.mark.servers

SECRET = "zq7-ms-smith"
TRACE = b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


def customers(day: int) -> Iterator[Event]:
    """Return purchases of 100 customers, and for each a record that is invalid or not counted."""
    for i in range(100):
        name, at = f"{SECRET}-{i}", f"2024-01-{day:02}T00:00:00Z"
        yield purchase(name, at, 5.0 + i * day)
        yield PURCHASES, name.encode(), f'{{"customer_id": "{name}", "age": '.encode()
        yield PURCHASES, b"else", purchase(name, at)[2]
        yield PROFILES, name.encode(), f'{{"customer_id": "{name}", "age": "{SECRET}"}}'.encode()
        if i % 10 == day:
            yield profile(name, at, age=40)
            yield erasure(name, at)


@pytest.mark.timeout(300)
def test_no_line_tells_who_a_customer_is(service: Service) -> None:
    service.start(LOG_LEVEL="debug")
    service.send(customers(1))
    service.wait()
    # Redis refuses to write: its client quotes the commit, including customers, in the error.
    service.client.config_set("maxmemory", "1")
    service.send(customers(2))
    failed = re.compile(r'"error": "[^"]*(OutOfMemory|OOM|used memory)')
    service.wait_for(lambda: failed.search(service.tail(1_000)), "a commit that is refused")
    service.client.config_set("maxmemory", "0")
    service.wait()
    service.redis_server.kill()
    service.send(customers(3))
    service.wait_for(lambda: "ConnectionError" in service.tail(1_000), "a store that is away")
    service.redis_server.start()
    service.wait(120)
    text = service.tail(100_000)
    assert "taking over" in text
    assert SECRET not in text


def test_the_trace_of_a_purchase_goes_on_to_its_change(service: Service) -> None:
    service.start()
    producer = KafkaProducer(**service.config)
    for i in range(60):
        topic, key, value = purchase(f"c{i}", "2024-01-01T00:00:00Z", 5.0 + i)
        producer.send(topic, key=key, value=value)
    producer.flush(30)
    service.wait_for(service.has_model, "a model")
    topic, key, value = purchase("newcomer", "2024-01-02T00:00:00Z", 50.0)
    producer.send(topic, key=key, value=value, headers=[("traceparent", TRACE)])
    producer.close()
    service.wait()
    changes = service.records(CHANGES)
    traces = [dict(record.headers).get("traceparent") for record in changes]
    keys = [record.key for record, trace in zip(changes, traces, strict=True) if trace == TRACE]
    assert keys == [b"newcomer"]
