"""Transformation of records, without a broker."""

import json

import pytest
from kafka.consumer.fetcher import ConsumerRecord

from livesegments.cli.ingest import _text
from livesegments.ingest.definitions import Source
from livesegments.ingest.rehearsal import Outcome
from livesegments.ingest.transform import Transform

QUERY = """
SELECT value->>'$.id' AS customer_id, coalesce("timestamp", '2026-01-01T00:00:00Z') AS occurred_at,
       1 AS amount
FROM source
"""


def record(timestamp: int) -> ConsumerRecord:
    value = b'{"id": "a"}'
    return ConsumerRecord("t", 0, -1, 0, timestamp, 0, None, value, [], None, 0, len(value), 0)


@pytest.mark.parametrize(
    ("timestamp", "occurred_at"),
    [
        (1_772_354_000_000, "2026-03-01T08:33:20.000000Z"),
        (1_772_354_000_000_000, "2026-03-01T08:33:20.000000Z"),
        (1_772_354_000_000_000_000, "2026-03-01T08:33:20.000000Z"),
        (-1, "2026-01-01T00:00:00.000000Z"),
        (0, "2026-01-01T00:00:00.000000Z"),
    ],
)
def test_timestamps_of_any_unit_are_read(timestamp: int, occurred_at: str) -> None:
    source = Source(name="s", topic="t", into="purchases", query=QUERY)
    done = Transform(source, [], None, "USD").run([record(timestamp)], 1_772_354_000_000)
    assert done.rejected == {}
    [event] = done.events
    assert json.loads(event.value or b"")["occurred_at"] == occurred_at


def test_a_clock_that_is_behind_the_brokers_refuses_nothing() -> None:
    source = Source(name="s", topic="t", into="purchases", query=QUERY)
    transform = Transform(source, [], None, "USD")
    now_ms = 1_772_354_000_000
    assert len(transform.run([record(now_ms)], now_ms - 3_600_000).events) == 1
    [ahead] = transform.run([record(-1)], 1_735_689_600_000).rejected.values()  # a year earlier
    assert ahead.reason == "future_dated"


def test_a_dry_run_shows_a_profile_with_what_a_worker_will_refuse_of_it() -> None:
    query = """
    SELECT value->>'$.id' AS customer_id, "timestamp" AS updated_at, '30-40k' AS income,
           false AS profiling_consent
    FROM source
    """
    source = Source(name="s", topic="t", into="profiles", query=query)
    one = record(1_772_354_000_000)
    done = Transform(source, [], None, "USD").run([one], 1_772_354_000_000)
    assert (len(done.events), done.rejected) == (1, {})
    assert done.partly_valid[0].message.startswith("income: must be")
    profile, letter = _text(Outcome(source, one, done.events, done.partly_valid[0])).splitlines()
    assert "profiling" in profile
    assert "dead letter: schema_invalid: income" in letter
