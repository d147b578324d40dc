"""Model of the whole deployment: the newest generation and the sum of the partitions' estimators.

A generation exists once it can be read from the definitions topic, not when it is fitted or written
to the store. The owner of partition 0 publishes it; every worker reads it.

Each partition's owner learns its own customers. A worker adds the estimators of other workers'
partitions as of its last refresh; the sum is slightly stale, with a negligible loss of quality.
"""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from operator import is_
from typing import Any

import structlog
from kafka import TopicPartition
from kafka.consumer.fetcher import ConsumerRecord

from livesegments.consumers.log_reader import LogReader, log_consumer
from livesegments.consumers.modelling.definitions import complete_generation
from livesegments.consumers.partition_state import PartitionState
from livesegments.contracts.segments import SegmentDefinition, read
from livesegments.contracts.topics import DEFINITIONS
from livesegments.domain import Model
from livesegments.features.segmentation import Segmentation
from livesegments.model.generation import Generation
from livesegments.model.kmeans import MiniBatchKMeans
from livesegments.store.deployment import UnknownSegmentError
from livesegments.store.partitions import Partitions

log = structlog.get_logger()

POSITION_MS = 100
WAIT_SECONDS = 3.0
_PARTITION = TopicPartition(DEFINITIONS, 0)


class GlobalModel:
    """One worker's view of the model."""

    def __init__(
        self,
        store: Partitions,
        partitions: int,
        segmentation: Segmentation,
        refresh_seconds: float = 1.0,
    ) -> None:
        self._store = store
        self._partitions = partitions
        self._segmentation = segmentation
        self._segments = segmentation.segment_ids
        self._nobody = segmentation.estimator()
        self._refresh_seconds = refresh_seconds
        self._others: dict[int, MiniBatchKMeans | None] = {}
        self._read_at = -math.inf
        self._last: Model | None = None
        self._parts: list[MiniBatchKMeans] = []
        self._sum: Model | None = None
        """The sum of ``_parts``, which are replaced and never modified."""
        self.generation: Generation | None = None
        self.floor = 0
        """Records of this generation exist, so no older generation assigns."""

    @property
    def number(self) -> int:
        """The generation's number, 0 without one."""
        return 0 if self.generation is None else self.generation.number

    def adopt(self, generation: Generation | None) -> None:
        """Switch to a newer generation, never to an older one.

        Raises
        ------
        UnknownSegmentError
            If it has a segment that this deployment does not have.
        """
        if generation is None or generation.number < max(self.floor, self.number + 1):
            return
        UnknownSegmentError.check(generation.segments, self._segments)
        self.generation = generation
        self._others, self._read_at, self._last, self._sum = {}, -math.inf, None, None

    def follow(self, definitions: "DefinitionsReader") -> bool:
        """Adopt new definitions; return whether the topic has lost earlier ones."""
        lost = definitions.poll()
        if lost:
            log.warning("definitions are gone and will be published again", topic=DEFINITIONS)
        self.adopt(definitions.generation)
        return lost

    def wait_for(
        self, number: int, definitions: "DefinitionsReader", alive: Callable[[], None]
    ) -> None:
        """Follow the definitions until the model is at least as new as the records.

        If the topic has lost that generation, no customer is assigned until it is published again,
        by the owner of partition 0 if that still has it, or until a newer one is fitted.

        Parameters
        ----------
        number
            Newest generation of any record.
        definitions
            Source of generations.
        alive
            Called between polls.
        """
        deadline = time.monotonic() + WAIT_SECONDS
        while self.number < number and number > self.floor:
            if time.monotonic() > deadline and definitions.has_lost(number):
                log.error(
                    "the model's generation is lost; no segment changes until there is a newer one",
                    topic=DEFINITIONS,
                    records_are_of=number,
                    newest_there=self.number,
                )
                self.floor, self.generation = number, None
                return
            time.sleep(0.1)
            alive()
            self.follow(definitions)

    def refresh(self, states: Mapping[int, PartitionState], now_s: float) -> None:
        """Read the statistics of partitions owned by others, if a refresh is due."""
        others = [partition for partition in range(self._partitions) if partition not in states]
        # The statistics of a partition given up since are missing and read without delay.
        unknown = any(partition not in self._others for partition in others)
        is_time = unknown or now_s - self._read_at >= self._refresh_seconds
        if self.generation is None or not is_time:
            return
        found = self._store.statistics_in(self.generation.number, others) if others else []
        self._others = {
            partition: None if data is None else self._segmentation.estimator(learned=data)
            for partition, data in zip(others, found, strict=True)
        }
        self._read_at = now_s

    def complete(self, states: Mapping[int, PartitionState]) -> Model | None:
        """Return the sum of all partitions, None until every one is swept to this generation.

        Until then the fitted centroids are used, since some of the customers do not represent all.
        """
        if self.generation is None:
            return None
        parts = []
        for partition in range(self._partitions):
            if partition in states:
                part = states[partition].learned_in(self.generation.number, self._nobody)
            else:
                part = self._others.get(partition)
            if part is None:
                return None
            parts.append(part)
        if self._sum is None or not all(map(is_, parts, self._parts)):
            total = self._segmentation.estimator(self.generation)
            for part in parts:
                total += part
            self._parts, self._sum = parts, Model.of(total, self._segments)
        return self._sum

    def model(self, states: Mapping[int, PartitionState]) -> Model | None:
        """Return the current model, None during the warm-up.

        While a partition is rebuilt, its customers keep their previous weight.
        """
        if self.generation is None:
            return None
        self._last = self.complete(states) or self._last
        if self._last is None:
            return Model.of(self._segmentation.estimator(self.generation), self._segments)
        return self._last


class DefinitionsReader:
    """Reader that follows the definitions topic and assembles generations.

    Generations of another segmentation, with other features or another number of segments, are from
    before a rebuild and are ignored.

    Attributes
    ----------
    latest
        Newest definition of each segment, by its id.
    generation
        The newest complete generation.
    """

    def __init__(self, config: Mapping[str, Any], segmentation: Segmentation) -> None:
        self._config, self._segmentation = config, segmentation
        self.latest: dict[str, SegmentDefinition] = {}
        self.generation: Generation | None = None
        end = self._read_all()
        self._consumer = log_consumer(config, auto_offset_reset="earliest")
        self._consumer.assign([_PARTITION])
        self._consumer.seek(_PARTITION, end)
        self._position = end

    def poll(self) -> bool:
        """Read new definitions; return whether the topic has lost earlier ones.

        It is shorter than before then, because it was recreated.
        """
        for records in self._consumer.poll(timeout_ms=0).values():
            self._take(records)
        before = self._position
        position = self._consumer.position(_PARTITION, timeout_ms=POSITION_MS)
        if position is not None:
            self._position = position
        return self._position < before

    def has_lost(self, number: int) -> bool:
        """Read the whole topic again; return whether its generations are all older than ``number``.

        The worker that wrote records of a generation had read it from this topic, so it was there
        once.
        """
        self._read_all()
        return self.generation is None or self.generation.number < number

    def close(self) -> None:
        """Close the connection."""
        self._consumer.close()

    def _read_all(self) -> int:
        with LogReader(self._config) as log:
            start = log.starts([_PARTITION])[_PARTITION]
            end = log.ends([_PARTITION])[_PARTITION]
            for batch in log.read({_PARTITION: (start, end)}):
                self._take(batch[_PARTITION])
        return end

    def _take(self, records: Sequence[ConsumerRecord]) -> None:
        for record in records:
            if record.value is None:
                continue
            definition = read(SegmentDefinition, record)
            if definition is None:
                log.warning(
                    "a record of another producer is left out",
                    topic=DEFINITIONS,
                    offset=record.offset,
                )
                continue
            known = self.latest.get(definition.id)
            # Generations never go back, so definitions of older ones are ignored.
            if known is None or definition.generation >= known.generation:
                self.latest[definition.id] = definition
        newest = max((each.generation for each in self.latest.values()), default=0)
        if self.generation is not None and newest <= self.generation.number:
            return
        found = [each for each in self.latest.values() if each.generation == newest]
        self.generation = complete_generation(found, self._segmentation) or self.generation
