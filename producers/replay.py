"""Send purchases and profiles from files to their topics, at a pace or as fast as it goes."""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import tzinfo
from pathlib import Path
from typing import Any

from kafka import KafkaProducer
from kafka.errors import KafkaError

from contracts.topics import PROFILES, PURCHASES
from producers.files import BrokenRowError, Record, read_profiles, read_purchases

BATCH = 2_000
"""Records between two looks at what was acknowledged."""


class ReplayError(RuntimeError):
    """A record was not delivered; says how many were."""


@dataclass(slots=True)
class Replayed:
    """What a replay has done so far.

    Attributes
    ----------
    profiles, purchases
        Records acknowledged by Kafka.
    broken
        Rows left out.
    event_time_us
        Time of the last purchase sent, microseconds since the epoch.
    seconds
        How long it took.
    """

    profiles: int = 0
    purchases: int = 0
    broken: list[BrokenRowError] = field(default_factory=list)
    event_time_us: int = 0
    seconds: float = 0.0


def replay(
    purchases: Path,
    config: Mapping[str, Any],
    *,
    currency: str,
    profiles: Path | None = None,
    speed: float | None = None,
    skip_broken: bool = False,
    timezone: tzinfo | None = None,
    progress: Callable[[Replayed], None] = lambda _: None,
) -> Replayed:
    """Send a file of purchases, and before it one of profiles.

    Parameters
    ----------
    purchases, profiles
        CSV, JSON Lines or Parquet, as `producers.files` reads them.
    config
        Settings of the Kafka client.
    currency
        Of purchases that name none.
    speed
        Event time runs so many times as fast as the clock; as fast as it goes when not given.
    skip_broken
        Leave broken rows out, and report them; else the first one ends the replay.
    timezone
        Of times without an offset.
    progress
        Called after every batch.

    Raises
    ------
    BrokenRowError
        For a row that breaks the contract, unless they are skipped.
    FileError
        For a file that cannot be read.
    ReplayError
        If a record was not delivered.
    """
    done = Replayed()
    started = time.monotonic()
    on_broken = done.broken.append if skip_broken else None
    # Timestamps are left to the moment of sending: with the events' own, a broker that keeps
    # purchases for so many days would delete a replayed history at once.
    try:
        producer = KafkaProducer(
            **config,
            acks="all",
            linger_ms=20,
            batch_size=256 * 1024,
            max_block_ms=15_000,
            delivery_timeout_ms=30_000,
            request_timeout_ms=10_000,
            allow_auto_create_topics=False,
            metrics_enabled=False,
        )
    except KafkaError as error:
        raise ReplayError(
            f"cannot reach Kafka at {config['bootstrap_servers']}: {error!r}"
        ) from error
    try:
        if profiles is not None:
            for batch in _batches(read_profiles(profiles, timezone=timezone, on_broken=on_broken)):
                done.profiles += _send(producer, PROFILES, batch)
                done.seconds = time.monotonic() - started
                progress(done)
        records: Iterable[Record] = read_purchases(
            purchases, currency=currency, timezone=timezone, on_broken=on_broken
        )
        for batch in _batches(records) if speed is None else _paced(records, speed):
            done.purchases += _send(producer, PURCHASES, batch)
            done.event_time_us = batch[-1].instant
            done.seconds = time.monotonic() - started
            progress(done)
    finally:
        producer.close(timeout=5)
    return done


def _batches(records: Iterable[Record]) -> Iterator[list[Record]]:
    batch: list[Record] = []
    for record in records:
        batch.append(record)
        if len(batch) == BATCH:
            yield batch
            batch = []
    if batch:
        yield batch


def _paced(records: Iterable[Record], speed: float, tick: float = 0.05) -> Iterator[list[Record]]:
    """Yield records when their time has come, in ticks of the clock."""
    batch: list[Record] = []
    started = time.monotonic()
    first: int | None = None
    due_us = 0.0
    for record in records:
        if first is None:
            first = record.instant
        while (record.instant - first) > due_us or len(batch) >= BATCH:
            if batch:
                yield batch
                batch = []
            due_us = (time.monotonic() - started) * 1e6 * speed
            if record.instant - first > due_us:
                time.sleep(tick)
                due_us = (time.monotonic() - started) * 1e6 * speed
        batch.append(record)
    if batch:
        yield batch


def _send(producer: KafkaProducer, topic: str, records: list[Record]) -> int:
    try:
        futures = [producer.send(topic, key=record.key, value=record.value) for record in records]
        producer.flush(timeout=30)
    except (KafkaError, AssertionError) as error:
        raise ReplayError(f"{topic}: sending failed ({error!r}); does the topic exist?") from error
    failed = [future for future in futures if not future.succeeded()]
    if failed:
        raise ReplayError(
            f"{topic}: {len(failed)} of {len(records)} records were not delivered, the first for"
            f" {failed[0].exception!r}"
        )
    return len(records)
