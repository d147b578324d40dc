"""Pollers of Kafka and Redis: they join no group, write nothing and read a bounded amount.

Each is a generator that connects, and then yields fields of a `Snapshot` whenever it is resumed.
"""

import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from typing import Any

from kafka import KafkaConsumer, TopicPartition

from livesegments.analysis.watch.transition_window import HOUR_S, TransitionWindow
from livesegments.consumers.log_reader import ends_of, log_consumer, starts_of
from livesegments.consumers.modelling.global_model import DefinitionsReader, GlobalModel
from livesegments.contracts.segments import SegmentChange, read
from livesegments.contracts.topics import CHANGES, INPUTS
from livesegments.features.segmentation import Segmentation
from livesegments.model.generation import Generation
from livesegments.operations.consumer_group import count_workers
from livesegments.operations.model_loader import deployment_of
from livesegments.store.partitions import Partitions
from livesegments.topic_prefix import open_admin

FIRST_CHANGES = 20_000
"""Changes of the last hour read at the start, at most."""
MOST_BEHIND = 20_000
"""Lag on a partition above which changes are skipped."""
MOST_POLLED = 2_000
_WAIT_MS = 5_000
_POLL_MS = 200

Fields = dict[str, Any]


class ChangesTail:
    """Changes counted so far, and the offsets of the next ones; it outlives connections."""

    def __init__(self, began_s: float) -> None:
        self.moves = TransitionWindow(began_s)
        self.positions: dict[TopicPartition, int] = {}
        self.cut_short: set[TopicPartition] = set()
        """Partitions of which not the whole hour is read, until their first record is."""

    def begin(self, consumer: KafkaConsumer, changes: Sequence[TopicPartition]) -> None:
        """Set the offsets to those of an hour ago."""
        ends = ends_of(consumer, changes, _WAIT_MS)
        hour_ago_ms = round((time.time() - HOUR_S) * 1_000)
        since = consumer.offsets_for_times(dict.fromkeys(changes, hour_ago_ms), timeout_ms=_WAIT_MS)
        for tp in changes:
            first = ends[tp] if since[tp] is None else since[tp].offset
            self.positions[tp] = max(first, ends[tp] - FIRST_CHANGES // len(changes))
            if self.positions[tp] > first:
                self.cut_short.add(tp)

    def take(self, consumer: KafkaConsumer) -> None:
        """Count new changes; skip some where the lag is too large."""
        for tp, records in consumer.poll(_POLL_MS, max_records=MOST_POLLED).items():
            if tp in self.cut_short:
                self.cut_short.discard(tp)
                self.moves.known_since(records[0].timestamp / 1_000)
            for record in records:
                change = read(SegmentChange, record)
                if change is None:
                    continue
                self.moves.add(change, record.timestamp / 1_000)
        for tp in self.positions:
            position = consumer.position(tp, timeout_ms=_POLL_MS)
            if position is None:
                continue
            end = consumer.highwater(tp)
            if end is not None and end - position > MOST_BEHIND:
                self.moves.skipped += end - position
                consumer.seek(tp, end)
                position = end
            self.positions[tp] = position


def poll_topics(
    config: Mapping[str, Any], segmentation: Segmentation, tail: ChangesTail
) -> Generator[Fields]:
    """Yield changes and definitions; the first time everything up to the current end."""
    with (
        _consumer(config) as consumer,
        closing(DefinitionsReader(config, segmentation)) as definitions,
    ):
        partitions = consumer.partitions_for_topic(CHANGES)
        if not partitions:
            raise RuntimeError(f"topic {CHANGES} does not exist: livesegments topics create")
        changes = [TopicPartition(CHANGES, number) for number in sorted(partitions)]
        if not tail.positions:
            tail.begin(consumer, changes)
        consumer.assign(changes)
        for tp, position in tail.positions.items():
            consumer.seek(tp, position)
        ends = ends_of(consumer, changes, _WAIT_MS)
        deadline = time.monotonic() + _WAIT_MS / 1_000
        while True:
            tail.take(consumer)
            if time.monotonic() < deadline and any(tail.positions[tp] < ends[tp] for tp in ends):
                continue
            for _ in tail.cut_short:  # only transaction markers were left there
                tail.moves.known_since(time.time())
            tail.cut_short, deadline = set(), 0.0
            definitions.poll()
            yield {
                "moves": tail.moves.counts(time.time()),
                "definitions": dict(definitions.latest),
                "generation": definitions.generation,
            }


def poll_store(
    store: Partitions, segmentation: Segmentation, generation: Callable[[], Generation | None]
) -> Generator[Fields]:
    """Yield statistics and customer counts, under the newest known generation."""
    with closing(store.redis):
        deployment = deployment_of(store)
        numbers = range(deployment.partitions)
        merged = GlobalModel(store, deployment.partitions, segmentation, 0.0)
        while True:
            merged.adopt(generation())
            merged.refresh({}, time.monotonic())
            model = merged.complete({})
            yield {
                "currency": deployment.currency,
                "records": sum(store.sizes(numbers)),
                "statistics": None if model is None else model.statistics,
                "recovering": sum(
                    bool(each and each.recovering) for each in store.checkpoints(numbers)
                ),
            } | ({"generation": merged.generation} if merged.generation else {})


def poll_group(config: Mapping[str, Any], group_id: str) -> Generator[Fields]:
    """Yield the number of workers, and of input records that they have not committed.

    Describes the group through the admin API, without joining it.
    """
    with ExitStack() as stack:
        admin = stack.enter_context(closing(open_admin(**config)))
        consumer = stack.enter_context(_consumer(config))
        inputs = [
            TopicPartition(topic, number)
            for topic in INPUTS
            for number in sorted(consumer.partitions_for_topic(topic) or ())
        ]
        while True:
            workers = count_workers(admin, group_id)
            ends = ends_of(consumer, inputs, _WAIT_MS)
            starts = starts_of(consumer, inputs, _WAIT_MS)
            group = admin.list_group_offsets({group_id: inputs})[group_id]
            done = {tp: group[tp].offset if tp in group else -1 for tp in inputs}
            lag = sum(max(0, ends[tp] - max(done[tp], starts[tp])) for tp in inputs)
            yield {"workers": workers, "lag": lag}


@contextmanager
def _consumer(config: Mapping[str, Any]) -> Iterator[KafkaConsumer]:
    consumer = log_consumer(config, auto_offset_reset="earliest", fetch_max_wait_ms=200)
    try:
        yield consumer
    finally:
        consumer.close(timeout_ms=1_000)
