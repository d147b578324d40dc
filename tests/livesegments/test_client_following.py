"""Changes and states consumed together: erasures and withdrawn consents are reported too."""

from contextlib import closing
from random import Random
from typing import Any
from unittest.mock import patch

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kafka import KafkaProducer, TopicPartition

from livesegments.client import View, subscribe
from livesegments.contracts.cloudevents import provenance
from livesegments.contracts.segments import PublishedConsent, SegmentChange, SegmentState, encode
from livesegments.contracts.topics import CHANGES, STATES
from tests.livesegments.test_client import SEGMENTS, change, state, until_idle
from tests.servers import KafkaServer
from tests.simulation.cluster import Cluster
from tests.simulation.edges import Edge
from tests.simulation.kafka_consumer import Consumer

ERASE, CONSENT = -1, -2

steps = st.lists(st.tuples(st.sampled_from(["a", "b"]), st.integers(CONSENT, 2)), max_size=14)
"""Customer, and the segment moved to, an erasure, or the other answer about marketing."""

Told = tuple[str, SegmentState | None, int]


class History:
    """The service's output for some steps, each with a version of its own."""

    def __init__(self, taken: list[tuple[str, int]]) -> None:
        self.changes: list[SegmentChange] = []
        self.states: list[Told] = []
        self.now: dict[str, tuple[int | None, int]] = {}
        self.consents: dict[str, bool] = {}
        for version, (customer, step) in enumerate(taken):
            self._take(customer, step, version)

    def _take(self, customer: str, step: int, version: int) -> None:
        segment, since = self.now.get(customer, (None, version))
        if step == CONSENT:
            self.consents[customer] = not self.consents.get(customer, False)
            if customer in self.now:
                self._state(customer, segment, since, version)
        elif step == ERASE:
            if segment is not None:
                self._change(customer, None, version)
            self.states.append((customer, None, version))
            self.now.pop(customer, None)
            self.consents.pop(customer, None)
        elif step != segment:
            self._change(customer, step, version)
            self._state(customer, step, version, version)
            self.now[customer] = (step, version)

    def _consent(self, customer: str) -> PublishedConsent:
        return PublishedConsent(marketing=self.consents.get(customer))

    def _change(self, customer: str, segment: int | None, version: int) -> None:
        told = change(customer, version, segment)
        self.changes.append(told.model_copy(update={"consent": self._consent(customer)}))

    def _state(self, customer: str, segment: int | None, since: int, version: int) -> None:
        told = state(customer, since, segment)
        told = told.model_copy(update={"consent": self._consent(customer)})
        self.states.append((customer, told, version))


@given(steps, st.data())
def test_however_the_topics_interleave_a_view_ends_where_the_history_does(
    taken: list[tuple[str, int]], data: st.DataObject
) -> None:
    history, view = History(taken), View()
    shown: list[int] = []
    order = data.draw(
        st.permutations([CHANGES] * len(history.changes) + [STATES] * len(history.states))
    )
    changes, states = iter(history.changes), iter(history.states)
    for topic in order:
        update = (
            view.change(next(changes)) if topic == CHANGES else view.followed_state(*next(states))
        )
        if update is not None and update.kind == "change":
            assert update.payload is not None
            shown.append(update.payload.version)
    for customer in list(view.leaving):
        view.changes_read(customer)
    assert len(shown) == len(set(shown))
    assert view.customers == {
        customer: (None if segment is None else SEGMENTS[segment].id, version)
        for customer, (segment, version) in history.now.items()
    }
    assert view.marketing == {customer: history.consents.get(customer) for customer in history.now}
    assert not view.ahead


@pytest.mark.parametrize("seed", range(10))
def test_nobody_is_shown_as_forgotten_before_a_change_that_came_before(seed: int) -> None:
    cluster = Cluster(Random(seed))

    def put(topic: str, customer: str, told: SegmentChange | SegmentState | None, v: int) -> None:
        log = cluster.logs[TopicPartition(topic, 0)]
        value = None if told is None else encode(told)
        log.append(customer.encode(), value, provenance("00000000000000aa", v), 0)

    def consumer(**config: Any) -> Consumer:
        return Consumer(cluster, Edge("subscriber"), Random(seed), **config, max_poll_records=1)

    with (
        patch("livesegments.client.ColumnarConsumer", consumer),
        patch("livesegments.consumers.log_reader.ColumnarConsumer", consumer),
        closing(subscribe({})) as updates,
    ):
        assert next(updates) is None
        version = 0
        for customer in ("a", "b", "a"):
            for segment in (0, 1, None):
                version += 1
                put(CHANGES, customer, change(customer, version, segment), version)
                if segment is not None:
                    put(STATES, customer, state(customer, version, segment), version)
            put(STATES, customer, None, version)
        put(CHANGES, "b", change("b", version + 1), version + 1)
        found = [(u.customer_id, u.kind) for u in until_idle(updates)]
    kinds = {name: [kind for who, kind in found if who == name] for name in "ab"}
    assert [kinds[name].count("change") for name in "ab"] == [6, 4]
    assert "forgotten" not in kinds["a"][:3] + kinds["b"][:3]
    assert kinds["a"][-1] == "forgotten"


@pytest.mark.servers
def test_an_erasure_and_a_withdrawn_consent_are_shown_as_they_come(
    fresh_kafka: KafkaServer,
) -> None:
    producer = KafkaProducer(bootstrap_servers=fresh_kafka.bootstrap)

    def send(topic: str, customer: str, told: SegmentChange | SegmentState | None, v: int) -> None:
        value = None if told is None else encode(told)
        headers = provenance("00000000000000aa", v)
        producer.send(topic, value, customer.encode(), partition=0, headers=headers).get(10)

    for customer in ("a", "b"):
        send(STATES, customer, state(customer, 1), 1)
    with closing(subscribe({"bootstrap_servers": fresh_kafka.bootstrap})) as updates:
        assert {u.customer_id: u.kind for u in until_idle(updates)} == {"a": "state", "b": "state"}
        send(CHANGES, "a", change("a", 2, None), 2)
        send(STATES, "a", None, 2)
        refused = {"consent": PublishedConsent(marketing=False)}
        send(STATES, "b", state("b", 1).model_copy(update=refused), 3)
        send(STATES, "unknown", None, 4)
        found = until_idle(updates)
        kinds = sorted((u.customer_id, u.kind) for u in found if u.kind != "change")
        assert kinds == [("a", "forgotten"), ("b", "state"), ("unknown", "forgotten")]
    producer.close()
