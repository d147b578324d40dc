"""Trigger of each scored customer: the last event that counted, or a sweep."""

import re
from dataclasses import dataclass

import numpy as np
from kafka.consumer.fetcher import ConsumerRecord
from numpy.typing import NDArray

from livesegments.consumers.aggregation import Applied
from livesegments.consumers.decoding import MicroBatch, PartitionBatch
from livesegments.contracts.events import BACKFILL, ORIGIN_HEADER
from livesegments.contracts.topics import ERASURES, PROFILES, PURCHASES
from livesegments.producers.serializers import Trigger

Int = NDArray[np.int64]

TOPICS = (PROFILES, PURCHASES, ERASURES)
_ORIGIN = {PROFILES: "profile", PURCHASES: "live", ERASURES: "erasure"}
_TRACE = "traceparent"
_TRACEPARENT = re.compile(rb"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")
"""W3C Trace Context format; other values of the header are not propagated."""


@dataclass(frozen=True, slots=True)
class Triggers:
    """Triggers of n scored customers.

    Attributes
    ----------
    topic
        (n,) input topic of the origin, as an index in `TOPICS`: the last one with an applied event
        of the customer, -1 for none.
    column
        (n,) column in the batch of the customer's last such event there.
    swept
        (n,) origin for customers without an event, depending on whether the model has changed.
    time_us
        (n,) time at which a change takes effect.
    """

    batch: MicroBatch
    topic: Int
    column: Int
    swept: NDArray[np.str_]
    time_us: Int

    @classmethod
    def of(
        cls,
        batch: MicroBatch,
        part: PartitionBatch | None,
        applied: Applied,
        swept: NDArray[np.str_],
        clock_us: int,
    ) -> "Triggers":
        """Find the triggers of a slice's customers and of the ``swept`` ones after them."""
        n = len(swept)
        topic, column = np.full(n, -1, np.int64), np.full(n, -1, np.int64)
        time_us = np.full(n, clock_us, np.int64)
        if part is None:
            return cls(batch, topic, column, swept, time_us)
        profiles, purchases, erasures = batch.profiles, batch.purchases, batch.erasures
        events = (
            (part.profiles, applied.profiles, batch.profiles_customer, profiles.updated_at),
            (part.purchases, applied.purchases, batch.purchases_customer, purchases.occurred_at),
            (part.erasures, applied.erasures, batch.erasures_customer, erasures.requested_at),
        )
        for place, (at, counted, customer, times) in enumerate(events):
            columns = at.start + np.flatnonzero(counted[at])
            # For repeated rows NumPy keeps the last assignment, which is the last event.
            rows = customer[columns]
            topic[rows], column[rows] = place, columns
            time_us[rows] = times[columns]
        return cls(batch, topic, column, swept, time_us)

    def of_rows(self, rows: NDArray[np.intp]) -> tuple[list[str], list[Trigger | None]]:
        """Return the origins of changes of some customers, and the events that triggered them.

        A customer that was only swept has no event.
        """
        origins: list[str] = self.swept[rows].tolist()
        causes: list[Trigger | None] = [None] * len(rows)
        topics = self.topic[rows]
        for place, topic in enumerate(TOPICS):
            at = np.flatnonzero(topics == place)
            events = self.batch.events(topic, self.column[rows[at]])
            for i, (record, event_id) in zip(at.tolist(), events, strict=True):
                origins[i] = _origin(topic, record)
                causes[i] = Trigger(
                    event_id,
                    topic,
                    record.partition,
                    record.offset,
                    arrived_ms=record.timestamp,
                    traceparent=_traceparent(record) if record.headers else None,
                )
        return origins, causes


def _origin(topic: str, record: ConsumerRecord) -> str:
    is_history = topic != ERASURES and (ORIGIN_HEADER, BACKFILL) in record.headers
    return "backfill" if is_history else _ORIGIN[topic]


def _traceparent(record: ConsumerRecord) -> bytes | None:
    value = next((value for name, value in record.headers if name == _TRACE), None)
    return value if value and _TRACEPARENT.fullmatch(value) else None
