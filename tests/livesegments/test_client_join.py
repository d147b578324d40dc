"""A subscriber's join of states and changes while both advance: nothing missed or duplicated."""

import threading
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing
from itertools import islice

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kafka import KafkaProducer

from livesegments.client import Update, View, subscribe
from livesegments.contracts.segments import encode
from livesegments.contracts.topics import CHANGES, STATES
from livesegments.operations.subscribe import follow
from tests.livesegments.test_client import SEGMENTS, change, state, until_idle
from tests.servers import KafkaServer

CUSTOMERS = [f"c{n}" for n in range(8)]
ERASED = -1

Move = tuple[str, int]
"""Customer, and segment or `ERASED`; the version of each is its position in the history."""

histories = st.lists(st.tuples(st.sampled_from(["a", "b", "c"]), st.integers(ERASED, 4)))


def segment_of(move: Move) -> int | None:
    return None if move[1] == ERASED else move[1]


def read_states(view: View, history: Sequence[Move], compacted: bool) -> None:
    """Apply the compacted topic to a view: all of it, or only the last record of each customer."""
    last = {customer: version for version, (customer, _) in enumerate(history)}
    for version, move in enumerate(history):
        customer, _ = move
        if compacted and version < last[customer]:
            continue
        segment = segment_of(move)
        told = None if segment is None else state(customer, version, segment)
        view.state(customer, told, version)


@given(histories, st.data(), st.booleans())
def test_joined_anywhere_a_view_ends_where_the_history_ends_and_forgets_the_erased(
    history: list[Move], data: st.DataObject, compacted: bool
) -> None:
    noted = data.draw(st.integers(0, len(history)), "end of the changes")
    read = data.draw(st.integers(noted, len(history)), "end of the states")
    view = View()
    read_states(view, history[:read], compacted)
    held = dict(view.customers)
    news: list[int] = []
    for version in range(noted, len(history)):
        move = history[version]
        before = view.customers.get(move[0])
        if view.change(change(move[0], version, segment_of(move))) is not None:
            news.append(version)
        after = view.customers.get(move[0])
        assert before is None or (after is not None and after[1] >= before[1])
    assert news == list(range(read, len(history)))
    for move in history[:read]:
        if move[0] not in held:
            assert [m for m in history[:read] if m[0] == move[0]][-1][1] == ERASED
    found = {customer: segment for customer, (segment, _) in view.customers.items() if segment}
    wanted = {customer: segment for customer, segment in history}  # noqa: C416 - the last counts
    assert found == {
        customer: SEGMENTS[segment].id for customer, segment in wanted.items() if segment != ERASED
    }


class Writer(threading.Thread):
    """Moves customers in transactions, one version after the other, until it is stopped."""

    def __init__(self, bootstrap: str) -> None:
        super().__init__(daemon=True)
        self.stopped = threading.Event()
        self.written = dict.fromkeys(CUSTOMERS, 0)
        self._producer = KafkaProducer(bootstrap_servers=bootstrap, transactional_id="test-join")
        self._producer.init_transactions()

    def run(self) -> None:
        while not self.stopped.is_set():
            self._producer.begin_transaction()
            for n, customer in enumerate(CUSTOMERS):
                version = self.written[customer] + 1
                records = (
                    (CHANGES, encode(change(customer, version, version % 5))),
                    (STATES, encode(state(customer, version, version % 5))),
                )
                for topic, value in records:
                    self._producer.send(topic, value, customer.encode(), partition=n % 4)
            self._producer.commit_transaction()
            for customer in CUSTOMERS:
                self.written[customer] += 1
        self._producer.close()


def first_of(updates: Iterator[Update | None], count: int) -> list[Update]:
    return list(islice((each for each in updates if each is not None), count))


@pytest.mark.servers
def test_joined_while_a_producer_writes_there_is_no_gap_and_no_repeat(
    fresh_kafka: KafkaServer,
) -> None:
    config = {"bootstrap_servers": fresh_kafka.bootstrap}
    with ExitStack() as stack:
        writer = Writer(fresh_kafka.bootstrap)
        writer.start()
        try:
            joined = []
            for _ in range(4):
                updates = stack.enter_context(closing(subscribe(config)))
                joined.append((updates, first_of(updates, 100)))
        finally:
            writer.stopped.set()
            writer.join(30)
        total = sum(writer.written.values())
        for updates, found in joined:
            seen: dict[str, list[int]] = defaultdict(list)
            deadline = time.monotonic() + 20
            later = iter(found)
            while True:
                for each in later:
                    assert each.payload is not None
                    seen[each.customer_id].append(each.payload.version)
                if sum(max(each) for each in seen.values()) >= total or time.monotonic() > deadline:
                    break
                later = iter(until_idle(updates))
            for customer, versions in seen.items():
                assert versions == list(range(versions[0], writer.written[customer] + 1))
            assert set(seen) == set(CUSTOMERS)
            assert until_idle(updates) == []
        # The last one was missing at the start, so its states were needed.
        assert {each.kind for each in joined[-1][1]} == {"state", "change"}


@pytest.mark.servers
def test_the_time_to_connect_is_not_counted_as_quiet(fresh_kafka: KafkaServer) -> None:
    fresh_kafka.pause()
    threading.Timer(2.0, fresh_kafka.resume).start()
    started = time.monotonic()
    config = {"bootstrap_servers": fresh_kafka.bootstrap}
    assert follow(config, write=print, idle_exit=1.5) == 0
    assert time.monotonic() - started >= 3.5
