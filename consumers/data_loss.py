"""Detection of input records that were deleted from the log and may still count.

Purchases count while they are in a window, profiles and erasures forever. Records that were deleted
before they were processed, or that are needed again because the store is lost, are a loss if they
may still count. All deleted records arrived before the first remaining one, and no event is later
than its arrival: if that arrival is before the window at the end of the log, nothing is missing.
Undecidable cases are refused.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import structlog
from kafka import TopicPartition
from kafka.consumer.fetcher import ConsumerRecord

from livesegments.consumers.clocks import LOG_APPEND_TIME
from livesegments.consumers.decoding import columns_of
from livesegments.consumers.log_reader import LogReader
from livesegments.consumers.recovery.ownership import Committed, Extent
from livesegments.contracts.decode import decode_purchases
from livesegments.contracts.topics import ERASURES, INPUTS, PROFILES, PURCHASES
from livesegments.contracts.validation import FUTURE_TOLERANCE_US
from livesegments.domain import ProcessingConfig
from livesegments.store.checkpoint import Checkpoint

log = structlog.get_logger()

TAIL = 1_000
"""Offsets at the end of the purchases that usually show the latest event time."""
FIRST = 100
"""Records at the start whose event times show when they arrived, without broker timestamps."""

LOST_STORE = (
    "The store is lost, and a rebuilt one would lack these records: give the topic a longer"
    " retention; to continue with incomplete windows, run `livesegments run --accept-loss`"
)


class DataLossError(RuntimeError):
    """Records that may still count were deleted from the inputs.

    Attributes
    ----------
    partition
        The input partition.
    fact
        The lost data. The message also describes the remedy.
    """

    def __init__(self, partition: int, fact: str, way_out: str) -> None:
        super().__init__(f"partition {partition}: {fact}. {way_out}")
        self.partition, self.fact = partition, fact


@dataclass(frozen=True, slots=True)
class LossCheck:
    """Data loss check of one partition at a time.

    Attributes
    ----------
    reader, config
        Log reader, and the configuration for decoding purchases and laying out windows.
    now_us
        The wall clock, in microseconds.
    keep_alive
        Called regularly while the log is read.
    """

    reader: LogReader
    config: ProcessingConfig
    now_us: Callable[[], int]
    keep_alive: Callable[[], None]

    def check_topics(
        self,
        partition: int,
        inputs: Extent,
        checkpoint: Checkpoint,
        anyone_counts: Callable[[], bool],
    ) -> None:
        """Refuse inputs that were created again while customers have segments.

        ``anyone_counts`` is called if they were: it returns whether any customer has a segment.

        Raises
        ------
        DataLossError
            If one has: the purchases behind it, or the consents, may be gone.
        """
        if inputs.is_of(checkpoint) or not anyone_counts():
            return
        raise DataLossError(
            partition,
            "the input topics were created again since the store read them, and customers have"
            " segments: their purchases, profiles and consents may be gone",
            "Restore the topics with their records; then, or to continue without them, run"
            " `livesegments run --accept-loss`, which rebuilds the store from the topics",
        )

    def check_ends(
        self,
        partition: int,
        inputs: Extent,
        checkpoint: Checkpoint | None,
        committed: Committed | None,
    ) -> None:
        """Refuse a log that ends before offsets already processed or published.

        Raises
        ------
        DataLossError
            If one does: an unclean leader election, or a replica that was behind.
        """
        for offsets in [each.offsets for each in (checkpoint, committed) if each]:
            for topic, offset, end in zip(INPUTS, offsets, inputs.end, strict=True):
                if offset > end:
                    raise DataLossError(
                        partition,
                        f"{topic} ends at offset {end}, and was read up to {offset}: its end is"
                        " lost, as by an unclean leader election or a copy that was behind",
                        "Restore the topic; to continue at its end with the store as it is, run"
                        " `livesegments run --accept-loss`; to rebuild the store from the topics,"
                        " `livesegments rebuild --accept-loss`",
                    )

    def check_unread(self, partition: int, inputs: Extent, checkpoint: Checkpoint) -> None:
        """Refuse unprocessed records that were deleted and may still count.

        Raises
        ------
        DataLossError
            If there are any.
        """
        for topic, offset, start, end in zip(
            INPUTS, checkpoint.offsets, inputs.start, inputs.end, strict=True
        ):
            if offset >= start or (
                topic == PURCHASES and self._outlived(partition, start, end, checkpoint.clock_us)
            ):
                continue
            raise DataLossError(
                partition,
                f"{topic} begins at offset {start}, and was read up to {offset}: what lay between"
                " was deleted unread, and may still count",
                "Give the topic a longer retention; to continue at its start with the store as it"
                " is, run `livesegments run --accept-loss`",
            )

    def check_window(
        self, partition: int, inputs: Extent, anyone_counts: Callable[[], bool]
    ) -> None:
        """Refuse inputs from which a rebuilt store would lack records that count.

        ``anyone_counts`` is called if no purchase is left: it returns whether any customer has a
        segment or a purchase in the window.

        Raises
        ------
        DataLossError
            If records are missing.
        """
        for topic, start in zip(INPUTS, inputs.start, strict=True):
            if topic in (PROFILES, ERASURES) and start > 0:
                raise DataLossError(
                    partition,
                    f"{topic}, which counts for good, begins at offset {start}: earlier"
                    " records are gone",
                    LOST_STORE,
                )
        start, end = inputs.start[0], inputs.end[0]
        if start == 0 or self._outlived(partition, start, end, 0):
            return
        if next(self._read(partition, start, end), None) is None and not anyone_counts():
            return
        raise DataLossError(
            partition,
            f"{PURCHASES} no longer holds a window of {self.config.layout.window_days} days:"
            f" records before offset {start} are gone",
            LOST_STORE,
        )

    def _outlived(self, partition: int, start: int, end: int, clock_us: int) -> bool:
        """Return whether all purchases before the first one left are older than the window."""
        newest_us = self._newest_before(partition, start, end)
        if newest_us is None:
            return False
        if not self.config.event_clock:
            clock_us = max(clock_us, self.now_us())
        layout = self.config.layout
        # The clock or the end of the log may suffice; with late events at the end, all are read.
        for first in sorted({start, max(start, end - TAIL), end}, reverse=True):
            for records in self._read(partition, first, end):
                clock_us = max([clock_us, *self._occurred(records)])
            if layout.tile(newest_us) <= layout.tile(clock_us) - layout.tiles:
                return True
        return False

    def _newest_before(self, partition: int, start: int, end: int) -> int | None:
        """Return the latest time of purchases before the first one left, None if none is left."""
        for records in self._read(partition, start, end):
            if records[0].timestamp_type == LOG_APPEND_TIME:
                return int(records[0].timestamp) * 1_000 + FUTURE_TOLERANCE_US
            # Only broker timestamps are ordered. Otherwise the event times have to do, of some
            # purchases, since a single one may be late.
            if occurred := self._occurred(records[:FIRST]):
                return max(occurred)
        return None

    def _read(self, partition: int, start: int, end: int) -> Iterator[Sequence[ConsumerRecord]]:
        tp = TopicPartition(PURCHASES, partition)
        for batch in self.reader.read({tp: (start, end)}):
            self.keep_alive()
            yield batch[tp]

    def _occurred(self, records: Sequence[ConsumerRecord]) -> list[int]:
        purchases, _ = decode_purchases(*columns_of(records), currency=self.config.currency)
        return list(purchases.occurred_at.tolist())
