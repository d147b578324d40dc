"""Latencies are measured for the right changes; inputs are tiny, so the figures mean nothing."""

import json
import time

import numpy as np
import pytest

from bench import latency
from bench.counters import Counted
from bench.latency import LIVE, Seen, percentiles, purchases
from livesegments.contracts.decode import decode_purchases

PAGE = """
# TYPE livesegments_events_consumed_total counter
livesegments_events_consumed_total{topic="purchases.v1"} 900
livesegments_events_consumed_total{topic="customer-profiles.v1"} 100
# TYPE livesegments_batch_duration_seconds histogram
livesegments_batch_duration_seconds_bucket{stage="decode",le="+Inf"} 40
livesegments_batch_duration_seconds_count{stage="decode"} 40
livesegments_batch_duration_seconds_sum{stage="decode"} 0.5
livesegments_batch_duration_seconds_bucket{stage="poll",le="+Inf"} 70
livesegments_batch_duration_seconds_count{stage="poll"} 70
livesegments_batch_duration_seconds_sum{stage="poll"} 2.5
"""


def change(event_id: str | None) -> bytes:
    cause = None if event_id is None else {"event_id": event_id}
    return json.dumps({"cause": cause, "decided_at": "1970-01-01T00:00:03.000250Z"}).encode()


def test_a_change_tells_when_its_event_was_due() -> None:
    seen = Seen.of(change(f"{LIVE}2000000-17"), sent_ms=3_500, seen=4_000_000)
    assert seen == Seen(due=2_000_000, decided=3_000_250, sent=3_500_000, seen=4_000_000)


@pytest.mark.parametrize("event_id", [None, "h17"])
def test_a_change_that_no_live_event_caused_does_not_count(event_id: str | None) -> None:
    assert Seen.of(change(event_id), 3_500, 4_000_000) is None


def test_percentiles_are_in_milliseconds_between_two_steps() -> None:
    changes = [Seen(0, i * 1_000, 0, i * 2_000) for i in range(101)]
    assert percentiles(changes) == [100, 190, 198, 200]
    assert percentiles(changes, "decided", "seen") == [50, 95, 99, 100]


def test_a_round_is_a_batch_decoded() -> None:
    counted = Counted.of(PAGE)
    assert counted == Counted(1_000, 40, {"decode": 0.5, "poll": 2.5})
    assert counted.since(Counted(400, 10, {"decode": 0.1, "poll": 1.0})).rounds == 30


def test_purchases_are_as_the_contract_has_them() -> None:
    times = np.array([1_700_000_000_000_000, 1_700_000_000_000_001])
    keys, values = zip(*purchases(2, ["a", "b"], times, seed=1), strict=True)
    accepted, rejected = decode_purchases(keys, values, [0, 0], currency="USD")
    assert not rejected
    assert list(accepted.event_id) == ["a", "b"]
    assert accepted.occurred_at.tolist() == times.tolist()


@pytest.mark.servers
def test_each_rate_has_a_row_and_its_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(latency, "HISTORY", 4_000)
    monkeypatch.setattr(latency, "CUSTOMERS", 2_000)
    monkeypatch.setattr(latency, "BEFORE_SECONDS", 0.5)
    monkeypatch.setattr(latency, "TRANSACTIONS", 10)
    monkeypatch.setattr(latency, "TRANSACTIONS_BEFORE", 5)
    began = time.time()
    table = latency.run(rates=(200,), seconds=3.0)
    took_ms = (time.time() - began) * 1_000
    [(rate, p50, p95, p99, longest, *_)] = table.rows
    assert rate == "200"
    assert 0 < float(p50) <= float(p95) <= float(p99) <= float(longest) < took_ms
    [steps] = table.more
    assert len(steps.rows) == 1
