"""The example subscriber: as pure code, and against Apache Kafka."""

import json
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from kafka import KafkaProducer

from livesegments.client import Update, View, subscribe
from livesegments.contracts.segments import (
    ModelRef,
    PublishedConsent,
    SegmentChange,
    SegmentRef,
    SegmentState,
    encode,
)
from livesegments.contracts.topics import CHANGES, STATES
from livesegments.operations.subscribe import follow
from tests.segmentations import PERSONAS
from tests.servers import KafkaServer, RedisServer
from tests.service import Service, purchase, running

NOON = datetime(2026, 2, 25, 12, 3, 44, tzinfo=UTC)
SEGMENTS = [SegmentRef(id=each.id, name=each.name) for each in PERSONAS.segments]


def change(customer: str, version: int, segment: int | None = 0) -> SegmentChange:
    return SegmentChange(
        customer_id=customer,
        change="unassigned" if segment is None else "assigned",
        previous_segment=None,
        segment=None if segment is None else SEGMENTS[segment],
        occurred_at=NOON + timedelta(seconds=version),
        decided_at=NOON + timedelta(seconds=version),
        version=version,
        origin="live",
        cause=None,
        confidence=0.62,
        distance=1.0,
        runner_up=None,
        explanation=(),
        model=ModelRef(generation=1, version=version),
        consent=PublishedConsent(marketing=None),
    )


def state(customer: str, version: int, segment: int | None = 0) -> SegmentState:
    return SegmentState(
        customer_id=customer,
        segment=None if segment is None else SEGMENTS[segment],
        since=NOON,
        version=version,
        consent=PublishedConsent(marketing=None),
        model=ModelRef(generation=1, version=version),
    )


moves = st.lists(
    st.tuples(st.sampled_from(["a", "b", "c"]), st.none() | st.integers(0, 4)), max_size=12
)
"""Events in order; the version of each is its position."""

Move = tuple[str, int | None]


def where(history: Sequence[Move]) -> dict[str, tuple[str | None, int]]:
    """Return the expected contents of a view after a history."""
    return {
        customer: (None if segment is None else SEGMENTS[segment].id, version)
        for version, (customer, segment) in enumerate(history)
    }


@given(moves, st.data())
def test_any_order_and_repetition_of_states_and_changes_gives_the_newest(
    history: list[Move], data: st.DataObject
) -> None:
    events = [(kind, v) for v in range(len(history)) for kind in ("state", "change")]
    view, news = View(), set()
    for kind, version in data.draw(st.permutations(events * 2)):
        customer, segment = history[version]
        update = (
            view.state(customer, state(customer, version, segment), version)
            if kind == "state"
            else view.change(change(customer, version, segment))
        )
        if update is not None:
            assert version not in news
            news.add(version)
    assert view.customers == where(history)


def test_a_null_state_forgets_the_customer_who_may_come_back() -> None:
    view = View()
    view.state("a", state("a", 3), 3)
    forgotten = view.state("a", None, 4)
    assert forgotten == Update("forgotten", "a", None)
    assert view.customers == {}
    assert view.change(change("a", 5)) is not None
    assert view.customers == {"a": (SEGMENTS[0].id, 5)}


QUIET_POLLS = 5


def until_idle(updates: Iterator[Update | None]) -> list[Update]:
    """Return the records received up to a quiet second; shorter gaps occur on a busy machine."""
    found: list[Update] = []
    quiet = 0
    while quiet < QUIET_POLLS:
        each = next(updates)
        quiet = quiet + 1 if each is None else 0
        found += [each] if each else []
    return found


@pytest.fixture
def producer(fresh_kafka: KafkaServer) -> Iterator[KafkaProducer]:
    """A transactional producer in an open transaction."""
    made = KafkaProducer(bootstrap_servers=fresh_kafka.bootstrap, transactional_id="test-publisher")
    made.init_transactions()
    made.begin_transaction()
    yield made
    made.close(timeout=5)


def put(producer: KafkaProducer, topic: str, key: str, value: bytes | None) -> None:
    producer.send(topic, key=key.encode(), value=value, partition=0).get(10)


@pytest.mark.servers
def test_states_come_first_each_customer_once_and_no_one_forgotten(
    fresh_kafka: KafkaServer, producer: KafkaProducer
) -> None:
    for version, customer in enumerate(["a", "b", "a", "gone"]):
        put(producer, CHANGES, customer, encode(change(customer, version)))
        put(producer, STATES, customer, encode(state(customer, version)))
    put(producer, STATES, "gone", None)
    put(producer, STATES, "of another producer", b"{}")
    for value in (b"{}", None):
        producer.send(STATES, key=b"\xff", value=value, partition=0).get(10)
    producer.commit_transaction()
    config = {"bootstrap_servers": fresh_kafka.bootstrap}

    updates = subscribe(config)
    found = until_idle(updates)
    assert sorted((each.kind, each.customer_id) for each in found) == [
        ("state", "a"),
        ("state", "b"),
    ]
    producer.begin_transaction()
    put(producer, CHANGES, "of another producer", b"no JSON")
    put(producer, CHANGES, "b", encode(change("b", 9, 1)))
    producer.commit_transaction()
    assert until_idle(updates) == [Update("change", "b", change("b", 9, 1))]
    updates.close()


@pytest.mark.servers
def test_a_transaction_that_is_open_at_the_start_is_not_missed(
    fresh_kafka: KafkaServer, producer: KafkaProducer
) -> None:
    put(producer, CHANGES, "a", encode(change("a", 1, 2)))
    updates = subscribe({"bootstrap_servers": fresh_kafka.bootstrap})
    assert until_idle(updates) == []
    put(producer, STATES, "a", encode(state("a", 1, 2)))
    producer.commit_transaction()
    assert until_idle(updates) == [Update("change", "a", change("a", 1, 2))]
    updates.close()


@pytest.mark.servers
def test_aborted_records_are_not_seen(fresh_kafka: KafkaServer, producer: KafkaProducer) -> None:
    put(producer, CHANGES, "a", encode(change("a", 1)))
    put(producer, STATES, "a", encode(state("a", 1)))
    producer.abort_transaction()
    config = {"bootstrap_servers": fresh_kafka.bootstrap}
    assert until_idle(subscribe(config)) == []
    assert until_idle(subscribe(config, from_start=True)) == []


@pytest.mark.servers
def test_following_ends_at_its_limit_or_when_nothing_comes(
    fresh_kafka: KafkaServer, producer: KafkaProducer
) -> None:
    for version in range(6):
        put(producer, CHANGES, f"c{version}", encode(change(f"c{version}", version, version % 2)))
    producer.commit_transaction()
    config = {"bootstrap_servers": fresh_kafka.bootstrap}
    lines: list[str] = []
    assert follow(config, write=lines.append, from_start=True, limit=4) == 4
    wanted = SEGMENTS[1].id
    found = follow(
        config, write=lines.append, as_json=True, from_start=True, segment=wanted, idle_exit=4
    )
    assert found == 3
    assert len(lines) == 7
    assert {json.loads(line)["segment"]["id"] for line in lines[4:]} == {wanted}


@pytest.mark.servers
@pytest.mark.timeout(120)
def test_beside_a_worker_a_view_ends_where_the_states_are(
    fresh_kafka: KafkaServer, fresh_redis: RedisServer, tmp_path: Path
) -> None:
    rng = np.random.default_rng(3)

    def bought(day: int) -> list[tuple[str, bytes | None, bytes | None]]:
        return [
            purchase(f"c{i:02d}", f"2024-01-{day:02d}T10:00:00Z", round(float(amount) + 0.01, 2))
            for i, amount in enumerate(rng.gamma(1, 40, 80))
        ]

    # A refit would come at any time, also between the view and the states.
    settings = {"SWITCH_MARGIN": "0", "REFIT": "off"}
    service = Service(fresh_kafka, fresh_redis, tmp_path, settings)
    with running(service):
        service.send(bought(1))
        service.wait_for(service.has_model, "everyone is scored")
        service.wait()
        updates = subscribe(service.config)
        view: dict[str, tuple[SegmentRef | None, int]] = {}
        first = until_idle(updates)
        assert {each.kind for each in first} == {"state"}
        for day in range(2, 9):
            service.send(bought(day))
        service.wait()
        later = until_idle(updates)
        assert later
        assert {each.kind for each in later} == {"change"}
        for each in [*first, *later]:
            assert each.payload is not None
            if isinstance(each.payload, SegmentChange):
                known, version = view.get(each.customer_id, (None, -1))
                assert each.payload.previous_segment == known
                assert each.payload.version > version
            view[each.customer_id] = (each.payload.segment, each.payload.version)
        states = until_idle(subscribe(service.config))
        assert view == {
            each.customer_id: (each.payload.segment, each.payload.version)
            for each in states
            if each.payload is not None
        }
        assert len(view) == 80
