"""The doctor's look at a sample of the input topics."""

import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from kafka.consumer.fetcher import ConsumerRecord

from livesegments.config.clients import kafka_config, open_store
from livesegments.config.settings import PREFIX, Settings
from livesegments.contracts.timestamps import record_times_us, units
from livesegments.contracts.topics import INPUTS, PURCHASES
from livesegments.operations.doctor.finding import Finding, fail, ok, warn
from livesegments.operations.doctor.purchases import decoded, look_at_purchases
from livesegments.operations.event_ids import ADVICE, RingCounts
from livesegments.operations.input_sample import Placing, draw_inputs
from livesegments.operations.topics import partition_counts, topic_configs
from livesegments.store.deployment import DEDUP_FORMAT
from livesegments.store.partitions import Partitions
from livesegments.topic_prefix import open_admin

BY_THE_BROKER = "LogAppendTime"
ANOTHER_CLOCK_US = 300_000_000
"""Difference from the clock here beyond which a timestamp is not that of an arrival."""
MOST_REPEATS = 0.05
"""Share of repeats that producers cause by crashes and restarts."""
MOST_RING_BYTES = 16_000_000
"""Bytes of dedup rings that are read; each is read in one step."""


def look_at_inputs(settings: Settings) -> Iterator[Finding]:
    """Check the newest records of each input topic."""
    config = kafka_config(settings, 5.0)
    partitions = partition_counts(config)[PURCHASES]
    drawn = draw_inputs(config, partitions)
    yield from look_at_partitioners(settings, partitions, drawn)
    purchases = decoded(settings, drawn[PURCHASES])
    yield from look_at_event_ids(settings, purchases.event_id)
    yield from look_at_purchases(settings, purchases)
    yield from look_at_timestamps(timestamp_types(config), drawn, time.time_ns() // 1_000)


def look_at_partitioners(
    settings: Settings, partitions: int, drawn: dict[str, list[ConsumerRecord]]
) -> Iterator[Finding]:
    """Compare each topic's partitioner with the setting."""
    wanted, name = settings.partitioner, f"{PREFIX}PARTITIONER"
    right = []
    for topic in INPUTS:
        placing = Placing.of(drawn[topic], partitions)
        wrong = placing.wrong(wanted)
        if placing.customers and not wrong:
            right.append(topic)
        if wrong:
            yield fail(
                f"partitioner {topic}",
                f"follows {placing.describe()}; {wrong} of {placing.customers} customers sampled"
                f" are in another partition than {wanted} puts them ({name})",
                f"set the partitioner of its producers to {wanted} (docs/contracts.md), then:"
                " livesegments dead-letters replay --reason wrong_partition. If all producers of"
                f" all inputs follow the other one: set {name} to it, then livesegments rebuild",
            )
    if right:
        yield ok("partitioner", f"{wanted} in {', '.join(right)}")


def look_at_event_ids(settings: Settings, sampled: list[str]) -> Iterator[Finding]:
    """Count repeats among the remembered purchases; name ids of the sample that are in conflict."""
    store = open_store(settings)
    agreed = store.deployment()
    if agreed is None or not agreed.dedup_events or agreed.dedup_format != DEDUP_FORMAT:
        return
    counts = RingCounts.of(_rings(store, agreed.partitions))
    if not counts.purchases:
        return
    share = counts.repeats / counts.purchases
    told = f"{share:.1%} of the last {counts.purchases:,} purchases are repeats"
    if share > MOST_REPEATS:
        why = "see why their producer sends them again (docs/runbook.md, RepeatsMany)"
        yield warn("repeats", f"{told}, and skipped", why)
    else:
        yield ok("repeats", told)
    if counts.conflicts:
        named = ", ".join(map(repr, counts.named(sampled)))
        yield warn(
            "event ids",
            f"{counts.conflicts} of the last {counts.purchases:,} purchases have the event_id of"
            f" another one and other content{named and f', as {named}'}: they count",
            ADVICE,
        )


def _rings(store: Partitions, partitions: int) -> list[bytes]:
    """Return the dedup rings of the first partitions, up to a size."""
    rings: list[bytes] = []
    for partition in range(partitions):
        if sum(map(len, rings)) < MOST_RING_BYTES:
            rings.append(store.ring(partition))
    return rings


def timestamp_types(config: Mapping[str, Any]) -> dict[str, str]:
    """Return ``message.timestamp.type`` of each input topic whose configuration can be read."""
    name = "message.timestamp.type"
    with open_admin(**config) as admin:
        found = topic_configs(admin, INPUTS)
    return {topic: each[name] for topic, each in found.items() if name in each}


def look_at_timestamps(
    types: Mapping[str, str], drawn: Mapping[str, Sequence[ConsumerRecord]], now_us: int
) -> Iterator[Finding]:
    """Check who sets the timestamps of the input topics, and that recent ones are times."""
    by_producers = [topic for topic in INPUTS if types.get(topic, BY_THE_BROKER) != BY_THE_BROKER]
    fix = f"set message.timestamp.type={BY_THE_BROKER} on it with kafka-configs.sh"
    for topic in INPUTS:
        given = [record.timestamp for record in drawn[topic]]
        times_us = record_times_us(given)
        wrong = Counter(units(given))
        del wrong["milliseconds"]
        unreadable = int(np.count_nonzero(times_us == 0))
        ahead = int(np.count_nonzero(times_us > now_us + ANOTHER_CLOCK_US))
        told = [f"{n} have it in {unit}" for unit, n in wrong.items() if unit != "none"]
        if unreadable:
            told.append(f"{unreadable} have none, or one that is no time")
        if ahead:
            told.append(f"{ahead} are in the future")
        if told:
            yield fail(
                f"timestamps {topic}",
                f"of {len(given)} recent records, {', '.join(told)}: the broker deletes records by"
                " their timestamps, and purchases are found to be future-dated by them",
                f"{fix}, and let producers leave it out or send milliseconds",
            )
        elif topic in by_producers:
            oldest = ""
            if given:
                days = (now_us - int(times_us.min())) / 86_400e6
                oldest = f", the oldest of {len(given)} recent ones {days:,.0f} days old"
            yield warn(
                f"timestamps {topic}",
                f"are the producers' ({types[topic]}){oldest}: retention goes by"
                " them, and no clock can be compared with them",
                fix,
            )
    if not by_producers:
        yield ok("timestamps", f"set by the broker in all inputs ({BY_THE_BROKER})")
