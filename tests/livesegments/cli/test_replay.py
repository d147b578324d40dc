"""Notes of the command about the purchases that it has sent."""

import json
import time

import pytest

from livesegments.cli.replay import notes
from livesegments.config.settings import Settings
from livesegments.operations.event_ids import EventIdCheck
from livesegments.producers.replay import ReplayReport


@pytest.mark.parametrize(
    ("clock", "days_ago", "purchases", "says"),
    [
        ("wall", 91, 5, True),
        ("wall", 89, 5, False),
        ("event", 91, 5, False),
        ("wall", 91, 0, False),
    ],
)
def test_history_that_counts_for_nothing_names_the_clock(
    clock: str, days_ago: int, purchases: int, says: bool
) -> None:
    newest_us = round((time.time() - days_ago * 86_400) * 1e6)
    done = ReplayReport(0, purchases, 1.0, stopped=False, newest_us=newest_us)
    settings = Settings(_env_file=None, clock=clock)
    found = [*notes(done, EventIdCheck("USD"), settings)]
    assert any("CLOCK=event" in each for each in found) is says


def test_purchases_that_a_worker_will_refuse_are_told() -> None:
    ids = EventIdCheck("USD")
    bought = {"event_id": "e", "customer_id": "c", "occurred_at": "2026-01-01T00:00:00Z"}
    price = {"kind": "purchase", "amount": 1, "currency": "EUR"}
    ids.add([b"c"] * 2, [json.dumps(bought | price).encode()] * 2)
    done = ReplayReport(0, 2, 1.0, stopped=False, newest_us=0)
    [told] = notes(done, ids, Settings(_env_file=None, clock="event"))
    assert told.startswith("2 purchases become dead letters: currency: is not USD")
