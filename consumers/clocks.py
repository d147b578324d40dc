"""The wall clock of a worker, held against those of Redis and the broker as it works."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from kafka import KafkaConsumer, TopicPartition
from kafka.consumer.fetcher import ConsumerRecord

from livesegments.consumers.clock import Evidence, WrongClockError, bounded, check, errors
from livesegments.consumers.log_reader import LogReader
from livesegments.consumers.polling import Polled
from livesegments.contracts.topics import PURCHASES
from livesegments.store.partitions import Partitions, ReadResult

LOG_APPEND_TIME = 1
"""Type of a timestamp that the broker set."""
NEWEST = 10
"""Offsets at the end of a partition among which its newest record is looked for: the last ones may
be markers of transactions."""


class Clocks:
    """Compares the wall clock with the servers'.

    Parameters
    ----------
    store, config, partitions
        Redis, client settings to read the log with, and how many partitions there are.
    wall_us
        The wall clock, in microseconds.

    Attributes
    ----------
    agree
        Whether they did at the last comparison.
    errors_us
        By server, how far the wall clock is ahead of its clock; negative behind.
    shown_us
        What Redis' clock showed last.
    """

    def __init__(
        self,
        store: Partitions,
        config: Mapping[str, Any],
        partitions: int,
        wall_us: Callable[[], int],
    ) -> None:
        self._store, self._config, self._partitions = store, config, partitions
        self.wall_us = wall_us
        self.agree = False
        self.errors_us: dict[str, int] = {}
        self.shown_us = 0

    def now_us(self) -> int:
        """Return the time: that of the wall clock, as far as Redis' last one bears it out."""
        return bounded(self.wall_us(), self.shown_us)

    def look(self) -> None:
        """Compare with every server of the store and the newest purchase of every partition.

        Raises
        ------
        WrongClockError
            If one is too far away.
        """
        self._check(self.evidence())

    def evidence(self) -> list[Evidence]:
        """Return what every server of the store and the newest purchases say of the wall clock."""
        partitions = range(self._partitions)
        with LogReader(self._config) as reader:
            newest = newest_purchases(reader, partitions)
        return [*self._of_redis(partitions), *self._of_broker(newest)]

    def look_at_redis(self, partitions: Iterable[int]) -> None:
        """Compare with the servers that have some partitions; raises as `look`."""
        self._check(self._of_redis(partitions))

    def look_at_polled(self, consumer: KafkaConsumer, polled: Polled) -> None:
        """Compare with purchases just polled that are the newest of their partitions.

        Raises as `look`.
        """
        newest = [
            records[-1]
            for tp, records in polled.items()
            if tp.topic == PURCHASES and consumer.position(tp) >= (consumer.highwater(tp) or 0)
        ]
        if newest:
            self._check(self._of_broker(newest))

    def after_reading(
        self, before_us: int, partitions: Sequence[int], readings: Sequence[ReadResult]
    ) -> int:
        """Return the time for a round, from what it read: never beyond Redis' by the tolerance.

        The wall clock may have jumped at any moment, so that what is not borne out by this very
        reading is not used.

        Parameters
        ----------
        before_us
            The wall clock before the reading.
        partitions, readings
            What was read of which.

        Raises
        ------
        WrongClockError
            If the wall clock is too far from a server's.
        """
        after_us = self.wall_us()
        shown = [(r.time_us, p) for r, p in zip(readings, partitions, strict=True)]
        first, last = min(shown), max(shown)
        self.shown_us, _ = first
        self._check(
            [
                Evidence("redis", self._store.server(partition), us, before_us, after_us)
                for us, partition in (first, last)
            ]
        )
        return bounded(after_us, self.shown_us)

    def _of_redis(self, partitions: Iterable[int]) -> list[Evidence]:
        before_us = self.wall_us()
        shown = self._store.times(partitions)
        after_us = self.wall_us()
        self.shown_us = min(shown.values(), default=self.shown_us)
        return [Evidence("redis", name, us, before_us, after_us) for name, us in shown.items()]

    def _of_broker(self, newest: Iterable[ConsumerRecord]) -> list[Evidence]:
        now_us = self.wall_us()
        return [
            Evidence(
                server="kafka",
                name=f"the broker, by its last record in {record.topic}-{record.partition}",
                shows_us=record.timestamp * 1_000,
                before_us=now_us,
                after_us=now_us,
                at_least=True,
            )
            for record in newest
            if record.timestamp_type == LOG_APPEND_TIME
        ]

    def _check(self, evidence: Sequence[Evidence]) -> None:
        self.errors_us |= errors(evidence)
        try:
            check(evidence)
        except WrongClockError:
            self.agree = False
            raise
        self.agree = True


def newest_purchases(reader: LogReader, partitions: Iterable[int]) -> list[ConsumerRecord]:
    """Return the newest purchase of each partition, of those that can be found near its end."""
    tps = [TopicPartition(PURCHASES, partition) for partition in partitions]
    starts, ends = reader.starts(tps), reader.stable_ends(tps)
    newest: dict[TopicPartition, ConsumerRecord] = {}
    for batch in reader.read({tp: (max(starts[tp], ends[tp] - NEWEST), ends[tp]) for tp in tps}):
        newest |= {tp: records[-1] for tp, records in batch.items()}
    return list(newest.values())
