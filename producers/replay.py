"""Replay of history from files: profiles first, then purchases in file order.

Every delivery is confirmed. Records are timestamped on arrival, not with the event time: otherwise
the topics' retention would delete old history as soon as it is written.
"""

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, tzinfo
from itertools import chain
from pathlib import Path
from typing import Any, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from livesegments.contracts.events import BACKFILL, ORIGIN_HEADER
from livesegments.contracts.partitioning import Partitioner
from livesegments.contracts.topics import PROFILES, PURCHASES
from livesegments.producers.delivery_tracker import DeliveryError, connected
from livesegments.producers.event_files import (
    BrokenRowError,
    FileError,
    FileQuery,
    Record,
    read_profiles,
    read_purchases,
)

_REPORTED_ROWS = 10
_WAIT_STEP = 0.1
_WATCHED_RECORDS = 5_000

__all__ = ["BrokenRowError", "DeliveryError", "FileError", "ReplayReport", "replay", "zone_named"]


@dataclass(frozen=True, slots=True)
class ReplayReport:
    """Result of a replay."""

    profiles: int
    """Profiles delivered."""
    purchases: int
    """Purchases delivered."""
    skipped: int
    """Broken rows skipped."""
    broken_rows: tuple[BrokenRowError, ...]
    """The first broken rows, at most 10."""
    seconds: float
    """Duration, including the connection."""
    stopped: bool
    """True if it was stopped; the files may not have been sent completely."""

    @property
    def sent(self) -> int:
        """Records delivered."""
        return self.profiles + self.purchases


def replay(
    purchases_file: Path,
    *,
    client: Mapping[str, Any],
    currency: str,
    partitioner: Partitioner = "murmur2",
    profiles_file: Path | None = None,
    speed: float | None = None,
    on_error: Literal["stop", "skip"] = "stop",
    timezone: str | None = None,
    query: FileQuery | None = None,
    profiles_query: FileQuery | None = None,
    backfill: bool = False,
    watch: Callable[[Sequence[bytes], Sequence[bytes]], None] | None = None,
    progress: Callable[[int], None] | None = None,
    stop: threading.Event | None = None,
) -> ReplayReport:
    """Send the events of files to Kafka.

    Parameters
    ----------
    purchases_file, profiles_file
        CSV, JSON Lines or Parquet; `livesegments.producers.event_files` describes their columns.
    client
        Settings of kafka-python's producer: bootstrap servers, security. They override the defaults
        here.
    currency
        Default currency of the purchases.
    partitioner
        The deployment's.
    speed
        Seconds of event time per second of wall time; by default as fast as possible.
    on_error
        Whether a broken row ends the replay (the rows before it have been sent) or is skipped.
    timezone
        IANA name for times without an offset, such as ``UTC``; by default they are errors.
    query, profiles_query
        Make events of files of other shapes.
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
    FileError
        A file cannot be read, or (`BrokenRowError`) one of its rows is broken with
        ``on_error="stop"``.
    DeliveryError
        Kafka is unreachable, a topic is missing, or a record was not delivered.
    ValueError
        ``speed`` or ``timezone`` is invalid.
    """
    if speed is not None and not 0 < speed < float("inf"):
        raise ValueError(f"speed must be above 0, not {speed}")
    started = time.monotonic()
    zone = zone_named(timezone)
    broken = _BrokenRows()
    on_broken = broken.add if on_error == "skip" else None
    # Errors of a whole file, or of its first row, are raised before anything is sent.
    purchases = _begun(
        read_purchases(
            purchases_file, currency=currency, timezone=zone, on_broken=on_broken, query=query
        )
    )
    profiles: Iterator[Record] = iter(())
    if profiles_file is not None:
        profiles = _begun(
            read_profiles(profiles_file, timezone=zone, on_broken=on_broken, query=profiles_query)
        )
    stop = stop or threading.Event()

    topics = [PURCHASES] if profiles_file is None else [PROFILES, PURCHASES]
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
                purchases = _paced(purchases, speed, stop, deliveries.check)
            for record in _until(stop, purchases):
                deliveries.send(PURCHASES, record)
            stopped = stop.is_set()
        except FileError:
            deliveries.finish()
            raise
        deliveries.finish()

    return ReplayReport(
        profiles=sent_profiles,
        purchases=deliveries.sent - sent_profiles,
        skipped=broken.count,
        broken_rows=tuple(broken.first),
        seconds=time.monotonic() - started,
        stopped=stopped,
    )


class _BrokenRows:
    """Counter of skipped rows that keeps the first ones."""

    def __init__(self) -> None:
        self.count = 0
        self.first: list[BrokenRowError] = []

    def add(self, row: BrokenRowError) -> None:
        self.count += 1
        if len(self.first) < _REPORTED_ROWS:
            self.first.append(row)


def _paced(
    records: Iterator[Record], speed: float, stop: threading.Event, check: Callable[[], None]
) -> Iterator[Record]:
    """Yield each record at its time relative to the first; late ones immediately."""
    started = time.monotonic()
    first: int | None = None
    for record in records:
        first = record.instant if first is None else first
        due = started + (record.instant - first) / 1e6 / speed
        # Short steps, so that a failed delivery is detected during a long wait.
        while (ahead := due - time.monotonic()) > 0 and not stop.wait(min(ahead, _WAIT_STEP)):
            check()
        yield record


def _watched(
    records: Iterator[Record], watch: Callable[[Sequence[bytes], Sequence[bytes]], None]
) -> Iterator[Record]:
    """Yield the records, and hand them over in batches."""
    keys: list[bytes] = []
    values: list[bytes] = []
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


def zone_named(name: str | None) -> tzinfo | None:
    """Return the time zone of an IANA name, None for None.

    Raises
    ------
    ValueError
        If there is no time zone of that name.
    """
    if name is None or name.upper() == "UTC":
        return None if name is None else UTC
    try:
        return ZoneInfo(name)
    # A directory of zones, such as Europe, raises an OSError.
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise ValueError(f"no time zone {name}; give an IANA name such as Europe/Berlin") from error
