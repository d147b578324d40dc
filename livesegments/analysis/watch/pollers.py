"""Pollers of Kafka and Redis: they join no group, write nothing and read a bounded amount."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from kafka import KafkaConsumer, TopicPartition
from kafka.admin import KafkaAdminClient
from kafka.consumer.fetcher import ConsumerRecord

from livesegments.analysis.watch.transition_window import HOUR_S, TransitionCounts, TransitionWindow
from livesegments.consumers.columnar_reader import ColumnarConsumer
from livesegments.consumers.log_reader import ends_of, starts_of
from livesegments.consumers.modelling.definitions import to_generation
from livesegments.consumers.modelling.global_model import GlobalModel
from livesegments.contracts.segments import SegmentChange, SegmentDefinition
from livesegments.contracts.topics import CHANGES, DEFINITIONS, INPUTS
from livesegments.domain import CLUSTERS
from livesegments.model.cluster_statistics import ClusterStatistics
from livesegments.model.generation import Generation
from livesegments.operations.doctor import count_workers
from livesegments.store.partitions import Partitions

FIRST_CHANGES = 20_000
"""Changes of the last hour read at the start, at most."""
MOST_BEHIND = 20_000
"""Lag on a partition above which changes are skipped."""
MOST_POLLED = 2_000
LAST_DEFINITIONS = 200
_WAIT_MS = 5_000
_POLL_MS = 200
_DEFINED = TopicPartition(DEFINITIONS, 0)


@dataclass(frozen=True, slots=True)
class TopicsStatus:
    """Status read from the output topics."""

    moves: TransitionCounts
    definitions: Mapping[str, SegmentDefinition]
    generation: Generation | None


class TopicsState:
    """Records of the output topics so far, and their offsets; it outlives connections."""

    def __init__(self, began_s: float) -> None:
        self.moves = TransitionWindow(began_s)
        self.positions: dict[TopicPartition, int] = {}
        self.definitions: dict[str, SegmentDefinition] = {}
        self.generation: Generation | None = None

    def add(self, records: Sequence[ConsumerRecord]) -> None:
        """Add records."""
        for record in records:
            if record.value is None:
                continue
            if record.topic == CHANGES:
                change = SegmentChange.model_validate_json(record.value)
                self.moves.add(change, record.timestamp / 1_000)
            else:
                definition = SegmentDefinition.model_validate_json(record.value)
                self.definitions[definition.id] = definition

    def assemble(self) -> None:
        """Build the generation once all definitions are of the same new one."""
        numbers = {each.generation for each in self.definitions.values()}
        clusters = {each.cluster for each in self.definitions.values()}
        known = self.generation.number if self.generation else 0
        if len(numbers) == 1 and len(clusters) == CLUSTERS and max(numbers) > known:
            self.generation = to_generation(list(self.definitions.values()))


class TopicsPoller:
    """Follows changes and definitions, from an hour ago, or from where ``tail`` ends."""

    def __init__(self, config: Mapping[str, Any], tail: TopicsState) -> None:
        self._tail = tail
        self._cut_short: set[TopicPartition] = set()
        self._consumer = ColumnarConsumer(
            **config,
            group_id=None,
            isolation_level="read_committed",
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            allow_auto_create_topics=False,
            fetch_max_wait_ms=200,
            metrics_enabled=False,
        )
        partitions = self._consumer.partitions_for_topic(CHANGES)
        if not partitions:
            raise RuntimeError(f"topic {CHANGES} does not exist: livesegments topics create")
        changes = [TopicPartition(CHANGES, number) for number in sorted(partitions)]
        self._until: dict[TopicPartition, int] = {}
        if not tail.positions:
            tail.positions = self._begin(changes)
        self._consumer.assign([*changes, _DEFINED])
        for tp, position in tail.positions.items():
            self._consumer.seek(tp, position)

    def _begin(self, changes: Sequence[TopicPartition]) -> dict[TopicPartition, int]:
        ends = ends_of(self._consumer, [*changes, _DEFINED], _WAIT_MS)
        hour_ago_s = time.time() - HOUR_S
        since = self._consumer.offsets_for_times(
            dict.fromkeys(changes, round(hour_ago_s * 1_000)), timeout_ms=_WAIT_MS
        )
        most = FIRST_CHANGES // len(changes)
        self._until = ends
        begin = {_DEFINED: max(0, ends[_DEFINED] - LAST_DEFINITIONS)}
        for tp in changes:
            first = ends[tp] if since[tp] is None else since[tp].offset
            begin[tp] = max(first, ends[tp] - most)
            if begin[tp] > first:
                self._cut_short.add(tp)
        return begin

    def poll(self) -> TopicsStatus:
        """Read new records; the first time everything up to the current end."""
        deadline = time.monotonic() + _WAIT_MS / 1_000
        self._take()
        while self._is_catching_up() and time.monotonic() < deadline:
            self._take()
        for _ in self._cut_short:  # only transaction markers were left there
            self._tail.moves.known_since(time.time())
        self._until, self._cut_short = {}, set()
        return TopicsStatus(
            self._tail.moves.counts(time.time()),
            dict(self._tail.definitions),
            self._tail.generation,
        )

    def _is_catching_up(self) -> bool:
        return any(self._tail.positions[tp] < end for tp, end in self._until.items())

    def _take(self) -> None:
        for tp, records in self._consumer.poll(_POLL_MS, max_records=MOST_POLLED).items():
            if tp in self._cut_short:
                self._cut_short.discard(tp)
                self._tail.moves.known_since(records[0].timestamp / 1_000)
            self._tail.add(records)
        self._tail.assemble()
        for tp in self._tail.positions:
            self._keep_up(tp)

    def _keep_up(self, tp: TopicPartition) -> None:
        position = self._consumer.position(tp, timeout_ms=_POLL_MS)
        if position is None:
            return
        end = self._consumer.highwater(tp)
        if tp.topic == CHANGES and end is not None and end - position > MOST_BEHIND:
            self._tail.moves.skipped += end - position
            self._consumer.seek(tp, end)
            position = end
        self._tail.positions[tp] = position

    def close(self) -> None:
        """Close the connection."""
        self._consumer.close(timeout_ms=1_000)


@dataclass(frozen=True, slots=True)
class StoreStatus:
    """Status read from the store.

    Attributes
    ----------
    records
        Customers with a record.
    generation, statistics
        The current model; no statistics while partitions are in different generations.
    recovering
        Partitions under recovery.
    """

    currency: str
    partitions: int
    records: int
    generation: Generation | None
    statistics: ClusterStatistics | None
    recovering: int


class StorePoller:
    """Reads statistics and customer counts: a few numbers per partition.

    Parameters
    ----------
    store
        The deployment.
    generation
        Returns the newest known generation.
    """

    def __init__(self, store: Partitions, generation: Callable[[], Generation | None]) -> None:
        self._store, self._generation = store, generation
        deployment = store.deployment()
        if deployment is None:
            raise RuntimeError(f"no worker has run in group {store.keys.group_id!r} yet")
        self._deployment = deployment
        self._model = GlobalModel(store, deployment.partitions, deployment.segments, 0.0)

    def poll(self) -> StoreStatus:
        """Read once."""
        numbers = range(self._deployment.partitions)
        progresses = self._store.progresses(numbers)
        self._model.adopt(self._generation())
        self._model.refresh({}, time.monotonic())
        model = self._model.complete({})
        return StoreStatus(
            currency=self._deployment.currency,
            partitions=len(numbers),
            records=sum(self._store.sizes(numbers)),
            generation=self._model.generation,
            statistics=None if model is None else model.statistics,
            recovering=sum(bool(each and each.recovering) for each in progresses),
        )

    def close(self) -> None:
        """Close the connections."""
        self._store.redis.close()


@dataclass(frozen=True, slots=True)
class GroupStatus:
    """Number of workers, and of input records that they have not committed.

    Counted by offsets: transaction markers of producers are included.
    """

    workers: int
    lag: int


class GroupPoller:
    """Describes the workers' group through the admin API, without joining it."""

    def __init__(self, config: Mapping[str, Any], group_id: str) -> None:
        self._group_id = group_id
        self._admin = KafkaAdminClient(**config)
        self._consumer = KafkaConsumer(**config, enable_auto_commit=False, metrics_enabled=False)
        self._inputs = [
            TopicPartition(topic, number)
            for topic in INPUTS
            for number in sorted(self._consumer.partitions_for_topic(topic) or ())
        ]

    def poll(self) -> GroupStatus:
        """Describe the group once."""
        workers = count_workers(self._admin, self._group_id)
        ends = ends_of(self._consumer, self._inputs, _WAIT_MS)
        starts = starts_of(self._consumer, self._inputs, _WAIT_MS)
        group = self._admin.list_group_offsets({self._group_id: self._inputs})[self._group_id]
        done = {tp: group[tp].offset if tp in group else -1 for tp in self._inputs}
        lag = sum(max(0, ends[tp] - max(done[tp], starts[tp])) for tp in self._inputs)
        return GroupStatus(workers, lag)

    def close(self) -> None:
        """Close the connections."""
        self._admin.close()
        self._consumer.close(timeout_ms=1_000)
