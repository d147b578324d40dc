"""The model of the whole deployment: the sum of the partitions' statistics.

Each partition's owner counts its own customers, exactly. A worker adds what the others' partitions
had when it last looked; their sum is a moment old, which costs next to nothing in quality.
"""

from collections.abc import Mapping

import numpy as np

from consumers.owned import CLUSTERS, Owned, counted_in
from consumers.rules import Model, UnknownSegmentError
from contracts.segments import DIMENSIONS
from model.cluster_statistics import ClusterStatistics
from model.generation import Generation
from model.snapshot import ModelSnapshot
from store.partitions import Partitions


class GlobalModel:
    """What assigns customers, in one worker."""

    def __init__(
        self,
        store: Partitions,
        partitions: int,
        segments: tuple[str, ...],
        refresh_seconds: float = 1.0,
    ) -> None:
        self._store = store
        self._partitions = partitions
        self._index = {segment: i for i, segment in enumerate(segments)}
        self._refresh_seconds = refresh_seconds
        self._others: dict[int, ClusterStatistics | None] = {}
        self._read_at = -np.inf
        self._complete: ClusterStatistics | None = None
        self.generation: Generation | None = None
        self.floor = 0
        """No older generation assigns: there are records of this one."""

    @property
    def number(self) -> int:
        """The generation's number, 0 without one."""
        return 0 if self.generation is None else self.generation.number

    def adopt(self, generation: Generation | None) -> None:
        """Go over to a newer generation; never back to an older one.

        Raises
        ------
        UnknownSegmentError
            If it has a segment that is none of this deployment's.
        """
        if generation is None or generation.number < self.floor:
            return
        UnknownSegmentError.check(generation.segments, list(self._index))
        if self.generation is None or generation.number > self.generation.number:
            self.generation = generation
            self._others, self._read_at, self._complete = {}, -np.inf, None

    def do_without(self, number: int) -> None:
        """Assign nobody until there is a generation as new as this one, which is lost."""
        self.floor = max(self.floor, number)
        if self.number < self.floor:
            self.generation = None

    def refresh(self, owned: Mapping[int, Owned], now_s: float) -> None:
        """Read the statistics of partitions that others own, if it is time."""
        others = [partition for partition in range(self._partitions) if partition not in owned]
        # What was given up since is not known at all, and is not waited for.
        unknown = any(partition not in self._others for partition in others)
        is_time = unknown or now_s - self._read_at >= self._refresh_seconds
        if self.generation is None or not is_time:
            return
        found = self._store.statistics_in(self.generation.number, others) if others else []
        self._others = {
            partition: None
            if data is None
            else ClusterStatistics.from_bytes(data, CLUSTERS, DIMENSIONS)
            if data
            else ClusterStatistics.zeros(CLUSTERS, DIMENSIONS)
            for partition, data in zip(others, found, strict=True)
        }
        self._read_at = now_s

    def statistics(self, owned: Mapping[int, Owned]) -> ClusterStatistics | None:
        """Return the sum over all partitions; None until every one is in this generation.

        Until then the centroids of the fit serve, since a part of the customers is not the whole.
        """
        if self.generation is None:
            return None
        number = self.generation.number
        total = ClusterStatistics.zeros(CLUSTERS, DIMENSIONS)
        for partition in range(self._partitions):
            own = owned.get(partition)
            if own is None:
                counted = self._others.get(partition)
            elif own.progress.swept_generation >= number:
                counted = counted_in(own.statistics, number)
            else:
                counted = None
            if counted is None:
                return None
            total = total + counted
        return total

    def model(self, owned: Mapping[int, Owned]) -> Model | None:
        """Return the model as it stands, None during the warm-up.

        While a partition is made anew, its customers count as they did before.
        """
        if self.generation is None:
            return None
        if (statistics := self.statistics(owned)) is not None:
            self._complete = statistics
        return Model(
            generation=self.generation,
            snapshot=ModelSnapshot.of(self.generation, self._complete),
            segment_of_cluster=np.array(
                [self._index[segment] for segment in self.generation.segments], np.int8
            ),
        )
