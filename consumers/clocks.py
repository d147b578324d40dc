"""Comparison of a worker's wall clock with the clocks of Redis and the broker.

What each kind of evidence proves:

- Redis reports its time between a request and its response. The worker's clock is ahead if it was
  later than that before the request, and behind if it is earlier after the response. A worker that
  stalled in between proves nothing.
- The broker timestamps a record when it appends it (``LogAppendTime``). Its clock has passed that
  time, so a worker whose clock has not is behind the broker. An old record proves nothing more, so
  a worker is never found ahead of the broker. Only the newest record of a partition counts: a later
  record with an earlier timestamp means that the broker's clock has been corrected. Timestamps set
  by producers are no evidence.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from kafka import KafkaConsumer, TopicPartition
from kafka.consumer.fetcher import ConsumerRecord

from livesegments.consumers.log_reader import LogReader
from livesegments.consumers.polling import Polled
from livesegments.contracts.topics import PURCHASES
from livesegments.contracts.validation import FUTURE_TOLERANCE_US
from livesegments.store.partitions import Partitions, ReadResult

TOLERANCE_US = FUTURE_TOLERANCE_US
"""Maximum difference of two clocks, and of a partition's clock ahead of the evidence."""

Server = Literal["redis", "kafka"]


class WrongClockError(RuntimeError):
    """Wall clock too far from a server's clock for processing."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """Reading of another clock between two readings of the local one; all in microseconds.

    Attributes
    ----------
    server, name
        Kind of server, and its name.
    shows_us
        The time it showed; of a broker a lower bound.
    before_us, after_us
        The local clock before and after the reading.
    """

    server: Server
    name: str
    shows_us: int
    before_us: int
    after_us: int

    @property
    def error_us(self) -> int:
        """Proven error of the local clock: positive ahead, negative behind, 0 if unproven."""
        if self.shows_us > self.after_us:
            return self.after_us - self.shows_us
        return max(self.before_us - self.shows_us, 0) if self.server == "redis" else 0


def compare(evidence: Iterable[Evidence]) -> tuple[dict[str, int], str]:
    """Compare the local clock with others.

    Returns
    -------
    The largest error by server, in microseconds: ahead above 0, behind below. And the fault, ""
    if no clock differs by more than the tolerance: it names the farthest one, and the clocks of
    Redis that agree with the local one, which then is probably right.
    """
    errors: dict[str, int] = {}
    worst_us, farthest, agree = 0, "", []
    for each in evidence:
        error_us = each.error_us
        errors[each.server] = max(errors.get(each.server, 0), error_us, key=abs)
        if abs(error_us) > max(abs(worst_us), TOLERANCE_US):
            worst_us, farthest = error_us, each.name
        elif abs(error_us) <= TOLERANCE_US and each.server == "redis":
            agree.append(each.name)
    if not farthest:
        return errors, ""
    told = f"the clock here is {apart(worst_us)} {farthest}"
    return errors, told + (f"; it agrees with {', '.join(agree)}" if agree else "")


def bounded(time_us: int, shown_us: int) -> int:
    """Return a time, limited to the tolerance ahead of another clock's reading."""
    return min(time_us, shown_us + TOLERANCE_US)


def latest(shown_us: int) -> int:
    """Return the latest plausible time of a purchase for a reading of Redis' clock.

    The purchase may be ahead of the broker by the tolerance, and the broker ahead of Redis.
    """
    return shown_us + 2 * TOLERANCE_US


def apart(error_us: int) -> str:
    """Format an error: ``2 h ahead of``."""
    seconds = abs(error_us) / 1_000_000
    size, unit = next(
        (each for each in ((86_400, "days"), (3_600, "h"), (60, "min")) if seconds >= 2 * each[0]),
        (1, "s"),
    )
    return f"{seconds / size:.0f} {unit} {'ahead of' if error_us > 0 else 'behind'}"


LOG_APPEND_TIME = 1
"""Timestamp type of records timestamped by the broker."""


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
            newest = reader.newest([TopicPartition(PURCHASES, each) for each in partitions])
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

        ``before_us`` is the wall clock before the reads.

        Raises
        ------
        WrongClockError
            If the wall clock is too far from a server's.
        """
        after_us = self.wall_us()
        shown = [(r.time_us, p) for r, p in zip(readings, partitions, strict=True)]
        self.shown_us, _ = min(shown)
        self._check(
            Evidence("redis", self._store.server(partition), us, before_us, after_us)
            for us, partition in {min(shown), max(shown)}
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
            )
            for record in newest
            if record.timestamp_type == LOG_APPEND_TIME
        ]

    def _check(self, evidence: Iterable[Evidence]) -> None:
        errors_us, wrong = compare(evidence)
        self.errors_us |= errors_us
        self.agree = not wrong
        if wrong:
            raise WrongClockError(wrong)
