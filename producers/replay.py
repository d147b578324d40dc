"""Replay of history: profiles first, then purchases in their order.

Every delivery is confirmed. Records are timestamped on arrival, not with the event time: otherwise
the topics' retention would delete old history as soon as it is written.
"""

import math
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import chain
from typing import Any

from livesegments.contracts.events import BACKFILL, ORIGIN_HEADER
from livesegments.contracts.partitioning import Partitioner
from livesegments.contracts.topics import PROFILES, PURCHASES
from livesegments.producers.delivery_tracker import Record, connected

_WAIT_STEP = 0.1
_WATCHED_RECORDS = 5_000


@dataclass(frozen=True, slots=True)
class ReplayReport:
    """Result of a replay."""

    profiles: int
    """Profiles delivered."""
    purchases: int
    """Purchases delivered."""
    seconds: float
    """Duration, including the connection."""
    stopped: bool
    """True if it was stopped; perhaps not everything has been sent."""
    newest_us: int = 0
    """Time of the newest purchase, microseconds since the epoch; 0 without one."""

    @property
    def sent(self) -> int:
        """Records delivered."""
        return self.profiles + self.purchases


def replay(
    purchases: Iterator[Record],
    profiles: Iterator[Record] | None = None,
    *,
    client: Mapping[str, Any],
    partitioner: Partitioner = "murmur2",
    speed: float | None = None,
    speed_from: datetime | None = None,
    backfill: bool = False,
    watch: Callable[[Sequence[bytes], Sequence[bytes | None]], None] | None = None,
    progress: Callable[[int], None] | None = None,
    stop: threading.Event | None = None,
) -> ReplayReport:
    """Send events to Kafka, all profiles before the first purchase.

    Parameters
    ----------
    purchases, profiles
        The events; an error in reading them is raised once the events before it are delivered.
    client
        Settings of kafka-python's producer: bootstrap servers, security. They override the defaults
        here.
    partitioner
        The deployment's.
    speed
        Seconds of event time per second of wall time; by default as fast as possible.
    speed_from
        Event time from which the speed holds; earlier purchases are sent as fast as possible.
    backfill
        Whether the changes caused by these events have ``origin: backfill``.
    watch
        Called with the keys and values of the purchases, some at a time.
    progress
        Called with the number of records sent so far, at intervals and at the end.
    stop
        Ends the replay gracefully when set, for example by a signal handler.

    Raises
    ------
    DeliveryError
        Kafka is unreachable, a topic is missing, or a record was not delivered.
    ValueError
        ``speed`` is invalid, or the events cannot be read.
    """
    if speed is not None and not 0 < speed < float("inf"):
        raise ValueError(f"speed must be above 0, not {speed}")
    started = time.monotonic()
    topics = [PURCHASES] if profiles is None else [PROFILES, PURCHASES]
    # Errors of a whole file, or of its first row, are raised before anything is sent.
    purchases, profiles = _begun(purchases), _begun(profiles or iter(()))
    stop = stop or threading.Event()

    linger_ms = 50 if speed is None else 5
    headers = [(ORIGIN_HEADER, BACKFILL)] if backfill else []
    with connected(
        client, topics, partitioner, linger_ms=linger_ms, progress=progress, headers=headers
    ) as deliveries:
        try:
            for record in _until(stop, profiles):
                deliveries.send(PROFILES, record)
            # State first: all profiles are delivered before the first purchase.
            deliveries.finish()
            sent_profiles = deliveries.sent
            if watch is not None:
                purchases = _watched(purchases, watch)
            if speed is not None:
                purchases = _paced(purchases, speed, stop, deliveries.check, speed_from)
            newest_us = 0
            for record in _until(stop, purchases):
                deliveries.send(PURCHASES, record)
                newest_us = max(newest_us, record.instant)
            stopped = stop.is_set()
        except ValueError:
            deliveries.finish()
            raise
        deliveries.finish()

    return ReplayReport(
        profiles=sent_profiles,
        purchases=deliveries.sent - sent_profiles,
        seconds=time.monotonic() - started,
        stopped=stopped,
        newest_us=newest_us,
    )


def _paced(
    records: Iterator[Record],
    speed: float,
    stop: threading.Event,
    check: Callable[[], None],
    speed_from: datetime | None = None,
) -> Iterator[Record]:
    """Yield each record at its time relative to the first from ``speed_from`` on.

    Earlier and late ones are yielded immediately.
    """
    since = -math.inf if speed_from is None else speed_from.timestamp() * 1e6
    first: int | None = None
    started = 0.0
    for record in records:
        if first is None and record.instant >= since:
            first, started = record.instant, time.monotonic()
        due = 0.0 if first is None else started + (record.instant - first) / 1e6 / speed
        # Short steps, so that a failed delivery is detected during a long wait.
        while (ahead := due - time.monotonic()) > 0 and not stop.wait(min(ahead, _WAIT_STEP)):
            check()
        yield record


def _watched(
    records: Iterator[Record], watch: Callable[[Sequence[bytes], Sequence[bytes | None]], None]
) -> Iterator[Record]:
    """Yield the records, and hand them over in batches."""
    keys: list[bytes] = []
    values: list[bytes | None] = []
    try:
        for record in records:
            keys.append(record.key)
            values.append(record.value)
            if len(keys) == _WATCHED_RECORDS:
                watch(keys, values)
                keys, values = [], []
            yield record
    finally:
        watch(keys, values)


def _until(stop: threading.Event, records: Iterator[Record]) -> Iterator[Record]:
    for record in records:
        if stop.is_set():
            return
        yield record


def _begun(records: Iterator[Record]) -> Iterator[Record]:
    """Return the same records with the first one already read."""
    for first in records:
        return chain([first], records)
    return iter(())
