"""In-memory partitions of one worker: the real code decides, and its commits are applied."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any
from zlib import crc32

import numpy as np
from kafka import TopicPartition
from kafka.consumer.fetcher import ConsumerRecord

from livesegments.consumers.aggregation import Work, read_requests
from livesegments.consumers.decoding import decode_batch
from livesegments.consumers.partition_state import (
    PartitionState,
    decode_estimators,
    decode_seen,
    start_sweep,
)
from livesegments.consumers.processor import process
from livesegments.contracts.cloudevents import read_provenance
from livesegments.contracts.segments import SegmentChange, SegmentState
from livesegments.contracts.timestamps import rfc3339
from livesegments.contracts.topics import (
    CHANGES,
    DEAD_LETTERS,
    ERASURES,
    PROFILES,
    PURCHASES,
    STATES,
)
from livesegments.domain import BatchStats, Hysteresis, Model, ProcessingConfig
from livesegments.features.record_codec import Records, decode
from livesegments.features.window import Tiling
from livesegments.model.cluster_statistics import ClusterStatistics
from livesegments.model.generation import Generation
from livesegments.model.kmeans import MiniBatchKMeans
from livesegments.store.checkpoint import Checkpoint
from livesegments.store.outbox import Output
from livesegments.store.partitions import NO_CLOCK, Commit, ReadRequest, ReadResult
from tests.segmentations import PERSONAS, POSITIONS

DAY = 86_400_000_000
LAYOUT = Tiling(window_days=20, tiles=5)
RULES = ProcessingConfig(
    layout=LAYOUT,
    switching=Hysteresis(margin=0.15, min_dwell_us=0),
    event_clock=True,
    currency="USD",
    group_id="group",
    segmentation=PERSONAS,
)
SEGMENTS, SHAPE = RULES.segment_ids, RULES.record_shape
YOUNG, FAMILIES, RETIREES, STUDENTS, HIGH_VALUE = SEGMENTS
MEAN = np.array([1.5, 4.5, 45.0, 10.8, 0.5])
STD = np.array([1.0, 1.5, 15.0, 0.6, 0.4])
NONCE = "00000000000000aa"
BUCKETS = 4
STUDENT = {"age": 20, "income": 20_000, "location": "urban"}
RETIREE = {"age": 72, "income": 25_000, "location": "rural"}


def generation(number: int = 1, turn: int = 0) -> Generation:
    """A fit whose clusters are at the personas; ``turn`` renumbers the clusters."""
    order = np.roll(np.arange(len(SEGMENTS)), turn)
    return Generation(
        number=number,
        centroids=MEAN + POSITIONS[order] * STD,
        mean=MEAN,
        variance=STD**2,
        sizes=(10,) * len(SEGMENTS),
        segments=tuple(SEGMENTS[cluster] for cluster in order),
    )


def model(number: int = 1, turn: int = 0, statistics: ClusterStatistics | None = None) -> Model:
    """The model of a generation, with its fitted centroids unless statistics are given."""
    return model_of(generation(number, turn), statistics)


def model_of(fitted: Generation, statistics: ClusterStatistics | None = None) -> Model:
    """The model of a fit and the customers counted in it."""
    return Model.of(
        PERSONAS.estimator(fitted, statistics.to_bytes() if statistics else b""), SEGMENTS
    )


def statistics_in(estimators: dict[int, MiniBatchKMeans]) -> dict[int, ClusterStatistics]:
    """The statistics learned by each generation's estimator."""
    return {number: each.statistics for number, each in estimators.items()}


def at(day: float) -> str:
    """The time of a day since the epoch, as text."""
    return rfc3339([round(day * DAY)])[0]


def purchase(customer: str, day: float, amount: float = 50.0, **more: Any) -> dict[str, Any]:
    """A purchase, or a refund when the amount is negative."""
    return {
        "event_id": f"{customer}-{day}-{amount}",
        "customer_id": customer,
        "occurred_at": at(day),
        "kind": "purchase" if amount > 0 else "refund",
        "amount": abs(amount),
        "currency": "USD",
        **more,
    }


def profile(customer: str, day: float, **known: Any) -> dict[str, Any]:
    """A profile."""
    return {"customer_id": customer, "updated_at": at(day), **known}


def erasure(customer: str, day: float, action: str = "erase") -> dict[str, Any]:
    """An erasure request."""
    return {
        "request_id": f"{customer}-{day}",
        "customer_id": customer,
        "requested_at": at(day),
        "action": action,
    }


def topic_of(event: dict[str, Any]) -> str:
    """The topic of an event."""
    if "event_id" in event:
        return PURCHASES
    return ERASURES if "request_id" in event else PROFILES


def record(
    topic: str,
    offset: int,
    key: bytes | None,
    value: bytes | None,
    *,
    partition: int = 0,
    timestamp_ms: int = 0,
    timestamp_type: int = 0,
    headers: Sequence[tuple[str, bytes | None]] = (),
) -> ConsumerRecord:
    """A record as returned by a poll."""
    return ConsumerRecord(
        topic=topic,
        partition=partition,
        leader_epoch=0,
        offset=offset,
        timestamp=timestamp_ms,
        timestamp_type=timestamp_type,
        key=key,
        value=value,
        headers=list(headers),
        checksum=None,
        serialized_key_size=-1,
        serialized_value_size=-1,
        serialized_header_size=-1,
    )


def by_partition(records: Iterable[ConsumerRecord]) -> dict[TopicPartition, list[ConsumerRecord]]:
    """Records grouped as by a poll."""
    polled: dict[TopicPartition, list[ConsumerRecord]] = {}
    for each in records:
        polled.setdefault(TopicPartition(each.topic, each.partition), []).append(each)
    return polled


class World:
    """The store's contents and the topics of some partitions after each micro-batch.

    Every commit is checked when it is applied: its version is one higher, its output satisfies the
    contracts, and each ``ce_id`` is unique.
    """

    def __init__(self, partitions: Sequence[int] = (0,), config: ProcessingConfig = RULES) -> None:
        self.config = config
        start = Checkpoint(nonce=NONCE)
        seen = decode_seen(b"", start, config.dedup_events)
        self.owned = {p: PartitionState(p, start, seen=seen) for p in partitions}
        self.rings: dict[int, bytearray] = {p: bytearray() for p in partitions}
        self.customers: dict[int, dict[str, bytes]] = {p: {} for p in partitions}
        self.erasures: dict[int, dict[bytes, bytes]] = {p: {} for p in partitions}
        self.statistics: dict[int, dict[int, bytes]] = {p: {} for p in partitions}
        self.outbox: dict[int, set[int]] = {p: set() for p in partitions}
        self.changes: list[SegmentChange] = []
        self.states: dict[str, SegmentState | None] = {}
        self.dead_letters: list[Output] = []
        self.commits: list[Commit] = []
        self.store_us = NO_CLOCK
        """What the clock of the store's server shows."""
        self._offsets: dict[tuple[str, int], int] = {}
        self._ce_ids: set[bytes] = set()

    def record(
        self,
        event: dict[str, Any] | tuple[str, bytes | None, bytes | None],
        partition: int = 0,
        **more: Any,
    ) -> ConsumerRecord:
        """Append an event, or a topic, key and value, to its topic and return the record."""
        if isinstance(event, dict):
            event = topic_of(event), event["customer_id"].encode(), json.dumps(event).encode()
        topic, key, value = event
        offset = self._offsets.get((topic, partition), 0)
        self._offsets[topic, partition] = offset + 1
        return record(topic, offset, key, value, partition=partition, **more)

    def send(
        self, *events: dict[str, Any] | tuple[str, bytes | None, bytes | None], **options: Any
    ) -> BatchStats:
        """Send events to partition 0 and process them in one micro-batch."""
        return self.round([self.record(event) for event in events], **options)

    def round(
        self,
        records: Sequence[ConsumerRecord] = (),
        model: Model | None = None,
        *,
        now_us: int = 0,
        replay: bool = False,
        undecided: bool = False,
    ) -> BatchStats:
        """Process the polled records in one micro-batch, with a step of every running sweep."""
        result = process(
            self.work(records, model, now_us=now_us, replay=replay, undecided=undecided)
        )
        for each in result.partitions:
            if each.commit is not None:
                self._apply(each.commit)
            self.owned[each.state.partition] = each.state
        return result.stats

    def work(
        self,
        records: Sequence[ConsumerRecord] = (),
        model: Model | None = None,
        *,
        now_us: int = 0,
        replay: bool = False,
        undecided: bool = False,
    ) -> Work:
        """The micro-batch that `round` processes."""
        polled = by_partition(records)
        here = {tp.partition for tp in polled}
        states = [owned for p, owned in sorted(self.owned.items()) if p in here or owned.sweep]
        batch = decode_batch(polled, self.config, {each.partition: each.seen for each in states})
        readings = [self._read(each) for each in read_requests(states, batch, self.config)]
        return Work(self.config, model, batch, states, readings, now_us, replay, undecided)

    def sweep(self, model: Model | None, *, now_us: int = 0) -> int:
        """Sweep all customers while a sweep is due; return the number of micro-batches it took."""
        rounds = 0
        while True:
            for p, owned in self.owned.items():
                number = model.generation.number if model else 0
                self.owned[p] = start_sweep(owned, number, self.config, now_us)
            if not any(owned.sweep for owned in self.owned.values()):
                return rounds
            self.round(model=model, now_us=now_us)
            rounds += 1

    def restart(self) -> None:
        """Drop the owner's local state and reload it from the store."""
        for p, owned in self.owned.items():
            self.owned[p] = PartitionState(
                p,
                owned.checkpoint,
                estimators=decode_estimators(self.statistics[p], self.config.segmentation),
                in_outbox=tuple(sorted(self.outbox[p])),
                erasures=len(self.erasures[p]),
                seen=decode_seen(bytes(self.rings[p]), owned.checkpoint, self.config.dedup_events),
            )

    def stored(self, customer: str, partition: int = 0) -> Records:
        """The stored record of one customer, (1,)."""
        return decode([self.customers[partition][customer]], self.config.record_shape)

    def check(self) -> None:
        """Compare statistics with records, and records with published output."""
        for p, owned in self.owned.items():
            blobs = list(self.customers[p].values())
            counted = recounted(decode(blobs, self.config.record_shape))
            stored = statistics_in(decode_estimators(self.statistics[p], self.config.segmentation))
            assert {g: s for g, s in stored.items() if s.members.any()} == counted
            assert statistics_in(owned.estimators) == stored
            assert set(owned.in_outbox) == self.outbox[p]
        self._check_chains()

    def _check_chains(self) -> None:
        last: dict[str, SegmentChange] = {}
        for change in self.changes:
            before = last.get(change.customer_id)
            assert change.previous_segment == (before and before.segment)
            assert change.previous_segment != change.segment
            assert before is None or change.version > before.version
            last[change.customer_id] = change
        published = {
            name: (SEGMENTS.index(c.segment.id), c.version) for name, c in last.items() if c.segment
        }
        kept = {}
        for customers in self.customers.values():
            for name, blob in customers.items():
                [found] = decode([blob], self.config.record_shape)
                if found["segment"] >= 0:
                    kept[name] = (int(found["segment"]), int(found["version"]))
        assert kept == published
        states = {
            name: (SEGMENTS.index(s.segment.id), s.version)
            for name, s in self.states.items()
            if s is not None and s.segment is not None
        }
        assert states == published

    def _read(self, wanted: ReadRequest) -> ReadResult:
        customers, erasures = self.customers[wanted.partition], self.erasures[wanted.partition]
        cursor, scanned = None, {}
        if wanted.scan:
            # Like Redis' buckets: one per step, whatever is written in between.
            bucket, _ = wanted.scan
            names = [name for name in customers if crc32(name.encode()) % BUCKETS == bucket]
            scanned = {name: customers[name] for name in names}
            cursor = (bucket + 1) % BUCKETS
        return ReadResult(
            [customers.get(name) for name in wanted.customers],
            [erasures.get(key) for key in wanted.erasures],
            cursor,
            scanned,
            self.store_us,
        )

    def _apply(self, commit: Commit) -> None:
        p = commit.partition
        assert commit.expected == self.owned[p].checkpoint
        assert commit.checkpoint.version == self.owned[p].checkpoint.version + 1
        unchanged = commit.records.items() & self.customers[p].items()
        assert not unchanged, "a record was written that is stored like that"
        self.customers[p].update(commit.records)
        for name in commit.gone:
            del self.customers[p][name]
        self.statistics[p].update(commit.statistics)
        for number in commit.statistics_gone:
            del self.statistics[p][number]
        self.erasures[p].update(commit.erasures)
        for start, part in commit.ring:
            assert start <= len(self.rings[p]), "a write to the ring leaves a hole"
            self.rings[p][start : start + len(part)] = part
        self.outbox[p] -= set(commit.trimmed)
        self.outbox[p] |= {commit.entry.version} if commit.entry else set()
        self.commits.append(commit)
        for output in commit.entry.outputs if commit.entry else ():
            self._publish(output, commit.checkpoint)

    def _publish(self, output: Output, checkpoint: Checkpoint) -> None:
        assert read_provenance(output.headers) == (NONCE, checkpoint.version)
        if output.topic == DEAD_LETTERS:
            self.dead_letters.append(output)
            return
        headers = dict(output.headers)
        assert headers["ce_specversion"] == b"1.0"
        assert headers["ce_id"] not in self._ce_ids
        self._ce_ids.add(headers["ce_id"])
        assert output.key is not None
        name = output.key.decode()
        if output.topic == CHANGES:
            assert output.value is not None
            change = SegmentChange.model_validate_json(output.value)
            assert (change.customer_id, change.version) == (name, checkpoint.version)
            self.changes.append(change)
            return
        assert output.topic == STATES
        state = output.value and SegmentState.model_validate_json(output.value)
        assert not state or (state.customer_id == name and state.version <= checkpoint.version)
        self.states[name] = state or None


def recounted(records: Records) -> dict[int, ClusterStatistics]:
    """The statistics recomputed from the records, by generation."""
    counted: dict[int, ClusterStatistics] = {}
    for number in np.unique(records["generation"][records["cluster"] >= 0]).tolist():
        members = records[records["generation"] == number]
        counted[number] = ClusterStatistics.of(members["vector"], members["cluster"], len(SEGMENTS))
    return counted


def switching(config: ProcessingConfig, **changes: Any) -> ProcessingConfig:
    """ProcessingConfig with another margin or dwell."""
    return replace(config, switching=replace(config.switching, **changes))


def segments(world: World) -> list[tuple[str | None, str | None, str]]:
    """(before, after, origin) of every change."""
    moves = ((c.previous_segment, c.segment, c.origin) for c in world.changes)
    return [(b.id if b else None, a.id if a else None, origin) for b, a, origin in moves]
