"""Why each customer of a round was scored: by its last event in the batch, or by a sweep."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from kafka.consumer.fetcher import ConsumerRecord
from numpy.typing import NDArray

from consumers.batch import Batch, Slice
from contracts.events import BACKFILL, ORIGIN_HEADER
from contracts.topics import ERASURES, PROFILES, PURCHASES
from producers.messages import Cause

Int = NDArray[np.int64]

_ORIGIN = {PROFILES: "profile", PURCHASES: "live", ERASURES: "erasure"}
_TRACE = "traceparent"
_TRACEPARENT = re.compile(rb"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")
"""Of W3C Trace Context; anything else under that name is not passed on."""


@dataclass(frozen=True, slots=True)
class Causes:
    """Why each of n customers was scored.

    Attributes
    ----------
    last
        Input topic -> (n,) column in the batch of the customer's last event there, -1 for none.
        The topic that comes last and has an event names the origin.
    swept
        Origin of those without an event, by whether the model moved on since they were scored.
    time_us
        (n,) when it takes effect.
    """

    batch: Batch
    last: Mapping[str, Int]
    swept: Sequence[str]
    time_us: Int

    @classmethod
    def of(cls, batch: Batch, part: Slice | None, swept: Sequence[str], clock_us: int) -> "Causes":
        """Find the causes of a slice's customers, and of ``swept`` ones after them."""
        n = len(swept)
        time_us = np.full(n, clock_us, np.int64)
        last: dict[str, Int] = {}
        if part is None:
            return cls(batch, last, swept, time_us)
        for topic, at, customer, times in (
            (PROFILES, part.profiles, batch.profiles_customer, batch.profiles.updated_at),
            (PURCHASES, part.purchases, batch.purchases_customer, batch.purchases.occurred_at),
            (ERASURES, part.erasures, batch.erasures_customer, batch.erasures.requested_at),
        ):
            column = np.full(n, -1, np.int64)
            # Of repeated rows NumPy keeps the last assignment, which is the last event.
            column[customer[at]] = np.arange(at.start, at.stop)
            time_us = np.where(column >= 0, times[column] if len(times) else time_us, time_us)
            last[topic] = column
        return cls(batch, last, swept, time_us)

    def origin(self, row: int) -> str:
        """Return the origin of a change of this customer."""
        topic = self._topic(row)
        if topic is None:
            return self.swept[row]
        headers = self.batch.record(topic, int(self.last[topic][row])).headers
        is_history = topic != ERASURES and (ORIGIN_HEADER, BACKFILL) in headers
        return "backfill" if is_history else _ORIGIN[topic]

    def cause(self, row: int) -> Cause | None:
        """Return the event that made a change of this customer, None for a sweep."""
        topic = self._topic(row)
        if topic is None:
            return None
        column = int(self.last[topic][row])
        record = self.batch.record(topic, column)
        return Cause(
            event_id=self.batch.event_id(topic, column),
            topic=topic,
            partition=record.partition,
            offset=record.offset,
            arrived_ms=record.timestamp,
            traceparent=_traceparent(record),
        )

    def _topic(self, row: int) -> str | None:
        named = [topic for topic, column in self.last.items() if column[row] >= 0]
        return named[-1] if named else None


def _traceparent(record: ConsumerRecord) -> bytes | None:
    value = next((value for name, value in record.headers if name == _TRACE), None)
    return value if value and _TRACEPARENT.fullmatch(value) else None
