"""Event ids that are no ids are counted and named, in files and in a running service."""

import json
from datetime import UTC
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from livesegments.config.settings import load
from livesegments.contracts.topics import PURCHASES
from livesegments.ingest.files import read_events
from livesegments.operations.doctor import examine
from livesegments.operations.event_ids import EventIdCheck, RingCounts
from tests.service import Service, running

CASES = Path(__file__).parents[2] / "cases"
LINE_ITEMS, ORDERS = CASES / "line-items.csv", CASES / "event-ids.jsonl"


def check(file: Path, times: int = 1) -> EventIdCheck:
    found = EventIdCheck("USD")
    for _ in range(times):
        records = list(read_events(file, "purchases", currency="USD", timezone=UTC))
        found.add([record.key for record in records], [record.value for record in records])
    return found


def test_line_items_with_the_number_of_their_invoice_are_conflicts() -> None:
    found = check(LINE_ITEMS)
    assert (found.repeats, found.conflicts, found.examples) == (0, 2, ["600001", "600001"])


def test_a_file_sent_twice_is_repeated_and_in_no_further_conflict() -> None:
    found = check(ORDERS, times=2)
    assert (found.repeats, found.conflicts) == (6, 3)
    assert found.examples == ["order-77", "(not set)", "#1001"]


@given(st.lists(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 2)), max_size=8), max_size=3))
def test_rings_are_counted_like_what_is_in_them(rings: list[list[tuple[int, int]]]) -> None:
    stored = [np.array([i << 16 | c for i, c in ring], "<u8").tobytes() for ring in rings]
    counts = RingCounts.of(stored)
    assert counts.purchases == sum(map(len, rings))
    assert counts.repeats == sum(len(ring) - len(set(ring)) for ring in rings)
    assert counts.conflicts == sum(len(set(ring)) - len({i for i, _ in ring}) for ring in rings)


@pytest.mark.servers
@pytest.mark.timeout(200)
def test_orders_as_event_ids_all_count_and_are_named(service: Service) -> None:
    events = [json.loads(line) for line in ORDERS.read_text().splitlines()]
    for event in events:
        event["occurred_at"] = "2024" + event["occurred_at"][4:]
    sent = [(PURCHASES, each["customer_id"].encode(), json.dumps(each).encode()) for each in events]
    with running(service):
        service.send([*sent, *sent])
        done = service.command("replay", LINE_ITEMS)
        assert done.returncode == 0, done.stderr
        assert "2 purchases have the event_id of an earlier one" in done.stderr
        service.wait()
        service.verified()
        settings = load(
            kafka_bootstrap_servers=service.kafka.bootstrap, redis_url=service.store.url
        )
        found = {each.name: each for each in examine(settings)}
    assert found["repeats"].status == "warn"
    assert found["repeats"].detail.startswith("40.0% of the last 15 purchases are repeats")
    assert found["event ids"].status == "warn"
    told = "3 of the last 15 purchases have the event_id of another one and other content"
    assert found["event ids"].detail.startswith(told)
    assert "'order-77'" in found["event ids"].detail
    assert "'600001'" in found["event ids"].detail
