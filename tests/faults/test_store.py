"""A store that goes away, or returns older or empty: Kafka has everything needed to recover."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from kafka.admin import KafkaAdminClient

from livesegments.contracts.topics import STATES
from tests.servers import fresh_topics
from tests.service import Event, Service, profile, purchase

pytestmark = pytest.mark.servers


def test_an_emptied_store_is_rebuilt_from_kafka(
    service: Service, make_load: Callable[..., list[Event]]
) -> None:
    service.start()
    service.send(make_load(4_000))
    service.wait()
    service.client.flushall()
    service.send(make_load(1_500, first=4_000))
    service.wait()
    service.verified()


def test_a_store_emptied_under_load_is_rebuilt(
    service: Service, make_load: Callable[..., list[Event]]
) -> None:
    service.start()
    service.send(make_load(8_000))
    service.wait_for(lambda: service.folded() > 1_000, "it folds")
    service.client.flushall()
    service.wait()
    service.verified()


def test_a_store_that_comes_back_older_catches_up_without_repeating_anything(
    service: Service, make_load: Callable[..., list[Event]], tmp_path: Path
) -> None:
    service.start()
    service.send(make_load(3_000))
    service.wait()
    service.redis_server.save(tmp_path / "older.rdb")
    service.send(make_load(2_000, first=3_000))
    service.wait()
    service.redis_server.roll_back(tmp_path / "older.rdb")
    service.send(make_load(1_000, first=5_000))
    service.wait()
    service.verified()


def test_a_store_that_is_away_is_waited_for(
    service: Service, make_load: Callable[..., list[Event]]
) -> None:
    worker = service.start()
    service.send(make_load(5_000))
    service.wait_for(lambda: service.folded() > 500, "it folds")
    service.client.save()
    service.redis_server.kill()
    service.send(make_load(1_500, first=5_000))
    service.redis_server.start()
    service.wait()
    assert worker.poll() is None
    service.verified()


def test_lost_group_offsets_repeat_and_lose_nothing(
    service: Service, make_load: Callable[..., list[Event]]
) -> None:
    service.send(make_load(5_000))
    worker = service.start()
    service.wait()
    service.leave(worker)
    with KafkaAdminClient(**service.config) as admin:
        admin.delete_groups(["livesegments"])
    service.send(make_load(1_500, first=5_000))
    service.start()
    service.wait()
    service.verified()


def test_a_consent_withdrawn_before_offsets_were_lost_is_stated(service: Service) -> None:
    names = [f"c{i}" for i in range(100)]
    said = {name: {"marketing": True} for name in names}
    at = "2024-02-0{}T00:00:00Z".format
    service.send([profile(name, at(1), age=40, consent=said[name]) for name in names])
    service.send([purchase(name, at(1), 5.0 + i) for i, name in enumerate(names)])
    worker = service.start()
    service.wait()
    service.leave(worker)
    # Segments stay unchanged; only the consent changes.
    said |= {name: {"marketing": False} for name in names[:50]}
    service.send([profile(name, at(2), age=40, consent=said[name]) for name in names[:50]])
    with KafkaAdminClient(**service.config) as admin:
        admin.delete_groups(["livesegments"])
    service.start()
    service.wait()
    service.verified()
    records = service.records(STATES)
    states = {record.key.decode(): json.loads(record.value) for record in records}
    assert {name: states[name]["consent"] for name in names} == said


def test_a_full_store_is_waited_for(
    service: Service, make_load: Callable[..., list[Event]]
) -> None:
    worker = service.start()
    service.send(make_load(2_000))
    service.wait()
    service.client.config_set("maxmemory", "1mb")
    service.send(make_load(3_000, first=2_000))
    service.wait_for(lambda: "OutOfMemory" in service.tail(100), "it says that Redis is full")
    assert worker.poll() is None
    service.client.config_set("maxmemory", "0")
    service.wait()
    service.verified()


def test_a_key_of_another_type_stops_the_partition_and_nothing_is_written(
    service: Service, make_load: Callable[..., list[Event]]
) -> None:
    service.start()
    service.send(make_load(2_000))
    service.wait()
    outbox = "livesegments:{1}:outbox"
    kept = service.client.dump(outbox)
    service.client.delete(outbox)
    service.client.set(outbox, "someone else's")
    service.send(make_load(1_500, first=2_000))
    service.wait_for(lambda: "WRONGTYPE" in service.tail(100), "it names the key's type")
    service.client.delete(outbox)
    if kept is not None:
        service.client.restore(outbox, 0, kept)
    service.wait()
    service.verified()


@pytest.mark.parametrize("events", [1_000, 4_000])
def test_a_store_of_topics_that_were_made_anew_since_is_not_believed(
    service: Service, make_load: Callable[..., list[Event]], events: int
) -> None:
    service.send(make_load(3_000))
    worker = service.start()
    service.wait()
    service.leave(worker)
    fresh_topics(service.kafka.bootstrap)
    service.send(make_load(events, seed=1))
    service.start()
    service.wait()
    service.verified()
