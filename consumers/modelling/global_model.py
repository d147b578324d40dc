"""Model of the whole deployment: the sum of the partitions' estimators.

Each partition's owner learns its own customers. A worker adds the estimators of other workers'
partitions as of its last refresh; the sum is slightly stale, with a negligible loss of quality.
"""

import math
from collections.abc import Mapping

from livesegments.consumers.partition_state import PartitionState, estimator
from livesegments.consumers.processing_config import Model, UnknownSegmentError
from livesegments.model.generation import Generation
from livesegments.model.kmeans import MiniBatchKMeans
from livesegments.store.partitions import Partitions


class GlobalModel:
    """One worker's view of the model."""

    def __init__(
        self,
        store: Partitions,
        partitions: int,
        segments: tuple[str, ...],
        refresh_seconds: float = 1.0,
    ) -> None:
        self._store = store
        self._partitions = partitions
        self._segments = segments
        self._refresh_seconds = refresh_seconds
        self._others: dict[int, MiniBatchKMeans | None] = {}
        self._read_at = -math.inf
        self._last: Model | None = None
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
        if generation is None or generation.number < self.floor:
            return
        UnknownSegmentError.check(generation.segments, self._segments)
        if self.generation is None or generation.number > self.generation.number:
            self.generation = generation
            self._others, self._read_at, self._last = {}, -math.inf, None

    def do_without(self, number: int) -> None:
        """Assign no customer until a generation at least as new as this lost one exists."""
        self.floor = max(self.floor, number)
        if self.number < self.floor:
            self.generation = None

    def refresh(self, owned: Mapping[int, PartitionState], now_s: float) -> None:
        """Read the statistics of partitions owned by others, if a refresh is due."""
        others = [partition for partition in range(self._partitions) if partition not in owned]
        # The statistics of a partition given up since are missing and read without delay.
        unknown = any(partition not in self._others for partition in others)
        is_time = unknown or now_s - self._read_at >= self._refresh_seconds
        if self.generation is None or not is_time:
            return
        found = self._store.statistics_in(self.generation.number, others) if others else []
        self._others = {
            partition: None if data is None else estimator(learned=data)
            for partition, data in zip(others, found, strict=True)
        }
        self._read_at = now_s

    def complete(self, owned: Mapping[int, PartitionState]) -> Model | None:
        """Return the sum of all partitions, None until every one is swept to this generation.

        Until then the fitted centroids are used, since some of the customers do not represent all.
        """
        if self.generation is None:
            return None
        total = estimator(self.generation)
        for partition in range(self._partitions):
            if partition in owned:
                part = owned[partition].learned_in(self.generation.number)
            else:
                part = self._others.get(partition)
            if part is None:
                return None
            total += part
        return Model.of(total, self._segments)

    def model(self, owned: Mapping[int, PartitionState]) -> Model | None:
        """Return the current model, None during the warm-up.

        While a partition is rebuilt, its customers keep their previous weight.
        """
        if self.generation is None:
            return None
        self._last = self.complete(owned) or self._last
        return self._last or Model.of(estimator(self.generation), self._segments)
