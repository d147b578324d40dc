"""Hold a deployment against its promises, partition by partition."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from kafka import KafkaConsumer
from kafka.consumer.fetcher import ConsumerRecord

from contracts.topics import CHANGES, DEAD_LETTERS, ERASURES, INPUTS, PROFILES, PURCHASES, STATES
from livesegments.verify.counted import check_counted
from livesegments.verify.expected import DAY_US, recompute
from livesegments.verify.kafka_log import Log
from livesegments.verify.of_store import (
    check_erasures,
    check_quiet,
    check_records,
    check_retention,
    check_statistics,
)
from livesegments.verify.of_topics import check_chain, check_dead_letters, check_ids, check_state
from livesegments.verify.report import Check, Report
from livesegments.verify.stored import StoredPartition, read_partition
from store.servers import Client

_NAMES = {
    "quiet": "nothing is under way: no recovery, nothing unpublished",
    "records": "every record equals a recomputation from the input log",
    "counted": "the model counts every customer by what its window holds",
    "statistics": "the statistics equal a recount of the records",
    "chain": "each customer's changes follow one another without gap or repeat",
    "state": "the compacted topic and the store agree with the last change",
    "ids": "no event id is published twice",
    "dead letters": "every rejected record is in the dead letters once, with its bytes",
    "erasures": "nothing of an erased customer is left",
    "retention": "nobody is kept who has stayed away for longer than the retention",
}


@dataclass(frozen=True, slots=True)
class Deployed:
    """What a deployment agreed on when its first worker ran, and its retention if that is known."""

    group_id: str
    partitions: int
    tiles: int
    tile_us: int
    currency: str
    dedup_events: int
    segments: Sequence[str]
    retention_days: int | None

    @classmethod
    def read(cls, client: Client, group_id: str, retention_days: int | None) -> "Deployed":
        """Read it from the store.

        Raises
        ------
        RuntimeError
            If no worker has ever run there.
        """
        found = _text(client.hgetall(f"{group_id}:deployment"))
        if not found:
            raise RuntimeError(
                f"group {group_id!r} has nothing in the store: no worker has ever run"
            )
        tiles = int(found["tiles"])
        return cls(
            group_id=group_id,
            partitions=int(found["partitions"]),
            tiles=tiles,
            tile_us=int(found["window_days"]) * DAY_US // tiles,
            currency=found["currency"],
            dedup_events=int(found.get("dedup_events", 0)),
            segments=found["segments"].split(","),
            retention_days=retention_days,
        )


def _text(stored: Mapping[Any, Any]) -> dict[str, str]:
    return {name.decode(): value.decode() for name, value in stored.items()}


def verify(
    client: Client,
    config: Mapping[str, Any],
    group_id: str,
    progress: Callable[[str], None] = lambda _: None,
    retention_days: int | None = None,
) -> Report:
    """Check every promise for every partition.

    Parameters
    ----------
    client
        The store.
    config
        Settings of Kafka clients: servers and security.
    group_id
        The deployment.
    progress
        Told what is looked at.
    retention_days
        The deployment's; without it the retention is not looked at.

    Raises
    ------
    RuntimeError
        If no worker has ever run there.
    """
    deployed = Deployed.read(client, group_id, retention_days)
    report = Report()
    checks = {name: report.check(name, promise) for name, promise in _NAMES.items()}
    log = Log(config)
    offsets = KafkaConsumer(
        **config, group_id=group_id, enable_auto_commit=False, isolation_level="read_committed"
    )
    try:
        for partition in range(deployed.partitions):
            progress(f"partition {partition + 1} of {deployed.partitions}")
            _verify_partition(checks, client, log, offsets, deployed, partition)
    finally:
        log.close()
        offsets.close(autocommit=False)
    return report


def _verify_partition(
    checks: Mapping[str, Check],
    client: Client,
    log: Log,
    offsets: KafkaConsumer,
    deployed: Deployed,
    partition: int,
) -> None:
    where = f"partition {partition}"
    tiles, tile_us = deployed.tiles, deployed.tile_us
    stored, outputs = _at_one_version(client, log, deployed, partition)
    inputs = recompute(
        log.read(PURCHASES, partition, stored.offsets["purchases"]),
        log.read(PROFILES, partition, stored.offsets["profiles"]),
        log.read(ERASURES, partition, stored.offsets["erasures"]),
        currency=deployed.currency,
        tile_us=tile_us,
        dedup_events=deployed.dedup_events,
    )
    changes, states, letters = (outputs[topic] for topic in (CHANGES, STATES, DEAD_LETTERS))
    starts = {topic: log.start(topic, partition) for topic in (*INPUTS, *outputs)}
    changes_cut, letters_cut = starts[CHANGES] > 0, starts[DEAD_LETTERS] > 0
    check_quiet(checks["quiet"], where, stored, offsets, partition)
    check_records(checks["records"], where, stored, inputs, tiles, tile_us)
    check_counted(checks["counted"], where, stored, inputs, tiles, tile_us)
    check_statistics(checks["statistics"], where, stored)
    last = check_chain(checks["chain"], where, changes, changes_cut)
    check_state(checks["state"], where, stored, last, states, deployed.segments, changes_cut)
    check_ids(checks["ids"], where, [*changes, *states])
    check_dead_letters(
        checks["dead letters"], where, inputs, letters, starts, letters_cut, stored.replayed
    )
    check_erasures(checks["erasures"], where, deployed.group_id, stored, inputs, states)
    if deployed.retention_days is not None:
        check_retention(checks["retention"], where, stored, tile_us, deployed.retention_days)


def _at_one_version(
    client: Client, log: Log, deployed: Deployed, partition: int
) -> tuple[StoredPartition, dict[str, list[ConsumerRecord]]]:
    """Read the store and the outputs: again, when a commit came in between."""
    stored = read_partition(client, deployed.group_id, partition, deployed.tiles)
    while True:
        outputs = {topic: log.read(topic, partition) for topic in (CHANGES, STATES, DEAD_LETTERS)}
        before = stored
        stored = read_partition(client, deployed.group_id, partition, deployed.tiles)
        if before.version == stored.version:
            return stored, outputs
