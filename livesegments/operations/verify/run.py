"""Verification of a deployment's guarantees, partition by partition."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from kafka import KafkaConsumer

from livesegments.contracts.topics import (
    CHANGES,
    DEAD_LETTERS,
    INPUTS,
    PURCHASES,
    STATES,
    check_partition_counts,
)
from livesegments.operations.topics import partition_counts
from livesegments.operations.verify import placement, store_checks, topic_checks
from livesegments.operations.verify.clocks import Clocks, check_clocks
from livesegments.operations.verify.kafka_log import Log
from livesegments.operations.verify.model_checks import check_counted
from livesegments.operations.verify.partition import Deployed, Partition
from livesegments.operations.verify.place_checks import check_places
from livesegments.operations.verify.reading import (
    Committed,
    InputReader,
    published_through,
    read_records,
    unpublished,
    wait_for_offsets,
    wait_for_publication,
)
from livesegments.operations.verify.reference import Inputs
from livesegments.operations.verify.report import Check, Report
from livesegments.operations.verify.store_reader import Store
from livesegments.store.cluster_pipeline import Client
from livesegments.topic_prefix import open_consumer, physical

_NAMES = {
    "quiet": "no recovery is under way, nothing stays unpublished",
    "offsets": "Kafka's offsets follow the store's",
    "outbox": "the outbox holds versions that were committed",
    "clock": "no partition's clock is behind its purchases",
    "clocks": "no clock is ahead of the servers', and those agree with the one here",
    "partitions": "each customer is in the one partition that their key belongs to",
    "records": "every record equals a recomputation from the input log",
    "repeats": "the ids of the last purchases are remembered",
    "counted": "the model counts every customer by what its window holds",
    "statistics": "the statistics equal a recount of the records",
    "chain": "each customer's changes follow one another without gap or repeat",
    "causes": "the event that a change names as its cause is one that counted",
    "state": "the compacted topic and the store agree with the last change",
    "places": "each customer's next change starts from a place that they had since the last one",
    "since": "customers are in their segment since the time of their last change",
    "ids": "no event id is published twice",
    "dead letters": "every rejected record is in the dead letters once, with its bytes",
    "erasures": "nothing of an erased customer is left",
    "retention": "no customer is kept who has been inactive for longer than the retention",
}
NEWEST = 10
"""Offsets searched for a partition's last record; others may be transaction markers."""
LARGEST_RING = 8_000_000
"""Maximum events of a ring that is read, in one step, at 8 bytes each."""


def verify(
    client: Client,
    config: Mapping[str, Any],
    group_id: str,
    progress: Callable[[str], None] = lambda _: None,
    retention_days: int | None = None,
    *,
    event_clock: bool | None = None,
    patience_seconds: float = 45.0,
    now_us: Callable[[], int] = lambda: time.time_ns() // 1_000,
) -> Report:
    """Check every guarantee for every partition, also while workers are running.

    Parameters
    ----------
    progress
        Called with a description of each step.
    retention_days, event_clock
        The deployment's, None if unknown; retention is not checked then.
    patience_seconds
        Timeout for a publication, and for an open transaction.
    now_us
        The local wall clock, in microseconds.

    Raises
    ------
    RuntimeError
        If no worker has run in the group yet.
    PartitionCountError
        If topics are missing; names them all.
    TopicAuthorizationFailedError
        If topics may not be described; names them all.
    TimeoutError
        If a transaction stays open; names the topic.
    """
    deployed = Deployed.of(
        client.hgetall(f"{group_id}:deployment"),  # type: ignore[arg-type]
        group_id,
        retention_days,
        event_clock,
    )
    report = Report()
    checks = {name: report.check(name, promise) for name, promise in _NAMES.items()}
    counts = partition_counts(config)
    if 0 in counts.values():  # clients wait for a topic that is missing
        check_partition_counts(counts, physical(config, ""))
    log = Log(config)
    offsets = open_consumer(
        KafkaConsumer,
        **config,
        group_id=group_id,
        enable_auto_commit=False,
        isolation_level="read_committed",
    )
    placed = placement.Placement(deployed.partitioner, deployed.partitions)
    run = _Verification(log, offsets, deployed, placed, checks, patience_seconds, now_us)
    stores = {p: Store(client, group_id, p) for p in range(deployed.partitions)}
    misplaced: list[placement.Misplaced] = []
    try:
        placement.check_counts(checks["partitions"], counts, deployed.partitions)
        for partition, store in stores.items():
            where = f"partition {partition + 1} of {deployed.partitions}"
            inputs = run.check(partition, store, partial(_tell, progress, where))
            misplaced += [(partition, *each) for each in inputs.misplaced]
        placement.check_misplaced_erasures(
            checks["erasures"], placed, stores, misplaced, deployed.tile_us
        )
    finally:
        log.close()
        offsets.close(autocommit=False)
    return report


def _tell(progress: Callable[[str], None], where: str, what: str) -> None:
    progress(f"{where}: {what}")


@dataclass(frozen=True, slots=True)
class _Verification:
    """Verification of one partition after the other."""

    log: Log
    offsets: KafkaConsumer
    deployed: Deployed
    placed: placement.Placement
    checks: Mapping[str, Check]
    patience_seconds: float
    now_us: Callable[[], int]

    def check(self, partition: int, store: Store, tell: Callable[[str], None]) -> Inputs:
        """Read and check a partition; return its inputs.

        The order of reads matters. First the records and the outbox; then Kafka's offsets, which
        determine the version up to which the outputs, read next, are complete; then the checkpoint
        again, whose offsets bound all inputs of those outputs.
        """
        deployed, checks, log = self.deployed, self.checks, self.log
        inputs = Inputs(
            currency=deployed.currency,
            tile_us=deployed.tile_us,
            dedup_events=deployed.dedup_events,
            consent_required=deployed.consent_required,
            belongs=lambda key: self.placed.of(key) == partition,
        )
        reader = InputReader(log, partition, inputs)

        def read_committed() -> Committed:
            return Committed.read(self.offsets, partition, self.patience_seconds)

        tell("records and inputs")
        outputs = (CHANGES, STATES, DEAD_LETTERS)
        log.starts((*INPUTS, *outputs), partition)
        records = read_records(store, reader, deployed.shape, deployed.tile_us)
        committed = wait_for_publication(store, read_committed, records, self.patience_seconds)
        tell("outputs")
        changes, states, letters = (
            log.read(topic, partition, end) for topic, end in log.ends(outputs, partition).items()
        )
        erased = [name for name, history in inputs.customers.items() if history.erasures]
        markers = store.markers(erased)
        reads_ring = 0 < deployed.dedup_events <= LARGEST_RING
        ring_cut, ring = store.ring() if reads_ring else (records.last, b"")
        after = store.look().cut
        now = wait_for_offsets(read_committed, records.first, after, self.patience_seconds)
        reader.read(after.offsets)
        ends = log.stable_ends(INPUTS, partition)
        newest = log.read(
            PURCHASES, partition, ends[PURCHASES], start=max(0, ends[PURCHASES] - NEWEST)
        )
        # After the newest purchase: a record read later than the clocks may be dated after them.
        clocks = Clocks.read(store, self.now_us)
        topics = (*INPUTS, CHANGES, DEAD_LETTERS)
        at = Partition(
            where=f"partition {partition}",
            deployed=deployed,
            records=records,
            inputs=inputs,
            starts=log.starts(topics, partition),
            committed=committed,
            published=published_through(records, committed),
            at_rest=(after == records.first == records.last and now == committed)
            and not (committed.known and unpublished(records, committed)),
            latest_us=clocks.latest_us,
        )

        tell(f"checks of {len(records.found)} customers")
        store_checks.check_quiet(checks["quiet"], at)
        store_checks.check_offsets(checks["offsets"], at, after, now, ends)
        store_checks.check_outbox(checks["outbox"], at)
        store_checks.check_clock(checks["clock"], at)
        check_clocks(checks["clocks"], at.where, after, clocks, newest)
        kept = (name for name, data in records.found.items() if data[0] is not None)
        placement.check_customers(checks["partitions"], self.placed, partition, kept)
        store_checks.check_records(checks["records"], at)
        if reads_ring:
            store_checks.check_ring(checks["repeats"], at, ring_cut, ring, self.placed.hash)
        elif deployed.dedup_events:
            checks["repeats"].leave_out(at.where, "the ring is too large to read in one step")
        check_counted(checks["counted"], at)
        store_checks.check_statistics(checks["statistics"], at)
        changes_cut, letters_cut = at.starts[CHANGES] > 0, at.starts[DEAD_LETTERS] > 0
        told, last = topic_checks.check_chain(checks["chain"], at, changes, changes_cut)
        topic_checks.check_causes(checks["causes"], at, told)
        stated, unknown = topic_checks.last_states(at, states)
        living = (name for name, state in stated.items() if state.value is not None)
        placement.check_customers(checks["partitions"], self.placed, partition, living)
        topic_checks.check_state(
            checks["state"], checks["since"], at, last, stated, unknown, changes_cut
        )
        check_places(checks["places"], at, last)
        topic_checks.check_ids(checks["ids"], at, [*changes, *states])
        topic_checks.check_dead_letters(checks["dead letters"], at, letters, after, letters_cut)
        store_checks.check_erasures(checks["erasures"], at, markers, stated)
        store_checks.check_retention(checks["retention"], at)
        return inputs
