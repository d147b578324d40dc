"""Continuous comparison of a worker's wall clock with the clocks of Redis and the broker."""

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
"""Timestamp type of records timestamped by the broker."""
NEWEST = 10
"""Offsets searched for a partition's newest record: the last ones may be transaction markers."""


class Clocks:
    """Comparison of the wall clock with the servers' clocks.

    Parameters
    ----------
    store, config, partitions
        Redis, client settings for reading the log, and the number of partitions.
    wall_us
        The wall clock, in microseconds.

    Attributes
    ----------
    agree
        Whether the clocks agreed in the last comparison.
    errors_us
        By server, how far the wall clock is ahead; negative if behind.
    shown_us
        The last reading of Redis' clock.
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
        """Return the wall clock's time, bounded by the last reading of Redis' clock."""
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
        """Return the evidence from every server of the store and from the newest purchases."""
        partitions = range(self._partitions)
        with LogReader(self._config) as reader:
            newest = newest_purchases(reader, partitions)
        return [*self._of_redis(partitions), *self._of_broker(newest)]

    def look_at_redis(self, partitions: Iterable[int]) -> None:
        """Compare with the servers of some partitions; raises as `look`."""
        self._check(self._of_redis(partitions))

    def look_at_polled(self, consumer: KafkaConsumer, polled: Polled) -> None:
        """Compare with polled purchases that are the newest of their partitions.

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
        """Return the time for a micro-batch, bounded by the Redis times in its reads.

        The wall clock may jump at any moment, so only a time confirmed by these very reads is used.

        Parameters
        ----------
        before_us
            The wall clock before the reads.
        partitions, readings
            The partitions and their read results.

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
    """Return the newest purchase of each partition that has one near its end."""
    tps = [TopicPartition(PURCHASES, partition) for partition in partitions]
    starts, ends = reader.starts(tps), reader.stable_ends(tps)
    newest: dict[TopicPartition, ConsumerRecord] = {}
    for batch in reader.read({tp: (max(starts[tp], ends[tp] - NEWEST), ends[tp]) for tp in tps}):
        newest |= {tp: records[-1] for tp, records in batch.items()}
    return list(newest.values())
