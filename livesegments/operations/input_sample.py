"""Sample of the newest records of each input topic."""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from kafka import TopicPartition
from kafka.consumer.fetcher import ConsumerRecord

from livesegments.consumers.log_reader import LogReader
from livesegments.contracts.partitioning import PARTITIONERS, Partitioner, Partitioning
from livesegments.contracts.topics import INPUTS

SAMPLED_RECORDS = 4_000
LEAST_IN_A_PARTITION = 20


@dataclass(frozen=True, slots=True)
class Placing:
    """Customers of a sample whose partition is the one that each partitioner gives them.

    A customer in two partitions counts twice. ``by_either`` is the number of those that are where
    at least one partitioner puts them.
    """

    customers: int
    agreeing: dict[Partitioner, int]
    by_either: int

    @classmethod
    def of(cls, records: list[ConsumerRecord], partitions: int) -> "Placing":
        """Compare the partitions of records with those of their keys; without a key none counts."""
        places = {(record.key, record.partition) for record in records if record.key}
        keys = [key for key, _ in places]
        found = np.array([partition for _, partition in places], np.int64)
        agree = {
            each: Partitioning(each, partitions).of_keys(keys) == found for each in PARTITIONERS
        }
        either = np.logical_or.reduce(list(agree.values()))
        return cls(
            len(keys),
            {each: int(np.count_nonzero(where)) for each, where in agree.items()},
            int(np.count_nonzero(either)),
        )

    def wrong(self, partitioner: Partitioner) -> int:
        """Return the number of customers in another partition than a partitioner's."""
        return self.customers - self.agreeing[partitioner]

    def describe(self) -> str:
        """Return the partitioner that the producers seem to use, in words."""
        for each in PARTITIONERS:
            if not self.wrong(each):
                return each
        if self.by_either < self.customers:
            return f"neither of {' and '.join(PARTITIONERS)}, or partitions were added"
        shares = (f"{each} for {self.agreeing[each]}" for each in PARTITIONERS)
        return f"a mix: {', '.join(shares)} of {self.customers} customers"


def draw_inputs(config: Mapping[str, Any], partitions: int) -> dict[str, list[ConsumerRecord]]:
    """Return the newest records of each input topic, the same number from each partition."""
    each = max(SAMPLED_RECORDS // partitions, LEAST_IN_A_PARTITION)
    tps = [TopicPartition(topic, p) for topic in INPUTS for p in range(partitions)]
    found: dict[str, list[ConsumerRecord]] = defaultdict(list, {topic: [] for topic in INPUTS})
    with LogReader(config) as reader:
        starts, ends = reader.starts(tps), reader.stable_ends(tps)
        ranges = {tp: (max(starts[tp], ends[tp] - each), ends[tp]) for tp in tps}
        for batch in reader.read(ranges):
            for tp, records in batch.items():
                found[tp.topic] += records
    return dict(found)
