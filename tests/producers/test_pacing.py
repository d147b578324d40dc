"""The rate of a replay, without Kafka: the send time of each record."""

import threading
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from livesegments.contracts.timestamps import zone_named
from livesegments.producers.delivery_tracker import DeliveryError, Record
from livesegments.producers.replay import _paced

MS = 1_000


def records(instants: Sequence[int]) -> Iterator[Record]:
    return (Record(b"c", str(n).encode(), instant) for n, instant in enumerate(instants))


def arrivals(
    instants: Sequence[int], speed: float, stop: threading.Event | None = None
) -> list[float]:
    """Return the seconds from the start to the send of each record."""
    started = time.monotonic()
    paced = _paced(records(instants), speed, stop or threading.Event(), lambda: None)
    return [time.monotonic() - started for _ in paced]


def test_no_record_comes_before_its_time_counted_from_the_first() -> None:
    start = 1_772_000_000_000_000
    came = arrivals([start + n * 200 * MS for n in range(6)], speed=10)
    for n, at in enumerate(came):
        assert at >= n * 0.02
    assert came[-1] < 5


def test_a_record_that_is_late_comes_at_once_and_holds_up_no_other() -> None:
    came = arrivals([100 * MS, 0, -(10**15), 1_100 * MS], speed=1)
    assert came[2] < 0.9
    assert 1 <= came[3] < 5


def test_speed_holds_from_its_time_on_and_all_before_comes_at_once() -> None:
    at = [n * 3_600_000 * MS for n in range(4)] + [3_600_000 * 3 * MS + 500 * MS]
    since = datetime.fromtimestamp(at[3] / 1e6, UTC)
    started = time.monotonic()
    paced = _paced(records(at), 1, threading.Event(), lambda: None, since)
    came = [time.monotonic() - started for _ in paced]
    assert came[-1] - came[3] >= 0.5
    assert came[-1] < 60


@given(st.lists(st.integers(-(10**15), 10**15), max_size=20))
def test_all_records_come_in_the_order_of_the_file(instants: list[int]) -> None:
    paced = _paced(records(instants), 1e12, threading.Event(), lambda: None)
    assert list(paced) == list(records(instants))


def test_a_stop_ends_the_wait() -> None:
    stop = threading.Event()
    threading.Timer(0.05, stop.set).start()
    assert arrivals([0, 3_600_000 * MS], speed=1, stop=stop)[-1] < 600


def test_a_delivery_that_fails_is_seen_during_a_long_wait() -> None:
    def check() -> None:
        raise DeliveryError("lost")

    paced = _paced(records([0, 3_600_000 * MS]), 1, threading.Event(), check)
    next(paced)
    started = time.monotonic()
    with pytest.raises(DeliveryError, match="lost"):
        next(paced)
    assert time.monotonic() - started < 600


@pytest.mark.parametrize("name", ["Mars/Olympus", "Europe", "", "../etc/passwd", "x" * 300])
def test_what_names_no_timezone_is_refused_without_telling_paths(name: str) -> None:
    with pytest.raises(ValueError, match="give an IANA name such as Europe/Berlin") as caught:
        zone_named(name)
    assert "zoneinfo" not in str(caught.value)
