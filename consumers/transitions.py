"""Segment changes of scored customers, with their triggers and reasons; current states."""

import re
from collections.abc import Sequence

import numpy as np
from kafka.consumer.fetcher import ConsumerRecord
from numpy.typing import NDArray

from livesegments.consumers.aggregation import Aggregated, Customers, Work
from livesegments.consumers.change_reasons import reasons_of
from livesegments.consumers.clocks import TOLERANCE_US
from livesegments.consumers.decoding import MicroBatch
from livesegments.consumers.scoring import NONE, Scores, since
from livesegments.contracts.events import BACKFILL, ORIGIN_HEADER
from livesegments.contracts.topics import ERASURES, PROFILES, PURCHASES
from livesegments.domain import (
    Change,
    OtherParts,
    SegmentStatus,
    Trigger,
)
from livesegments.features.record_codec import Records
from livesegments.store.checkpoint import AFTER_RECOVERY

Int = NDArray[np.int64]
Rows = NDArray[np.intp]

TOPICS = (PROFILES, PURCHASES, ERASURES)
_ORIGIN = {PROFILES: "profile", PURCHASES: "live", ERASURES: "erasure"}
_TRACE = "traceparent"
_TRACEPARENT = re.compile(rb"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")
"""W3C Trace Context format; other values of the header are not propagated."""


def last_events(batch: MicroBatch, aggregated: Aggregated, clock_us: Int) -> tuple[Int, Int, Int]:
    """Find each customer's last event that counted.

    Parameters
    ----------
    batch, aggregated
        The micro-batch, and the masks of the events that were applied.
    clock_us
        (n,) clock of each customer's partition.

    Returns
    -------
    topic
        (n,) index in `TOPICS` of the last one with an event of the customer, -1 for none.
    column
        (n,) column in the batch of the customer's last event there.
    time_us
        (n,) time at which a change takes effect: the event's, or else the clock.
    """
    topic, column = np.full(len(clock_us), -1, np.int64), np.full(len(clock_us), -1, np.int64)
    time_us = clock_us.copy()
    profiles, purchases, erasures = batch.profiles, batch.purchases, batch.erasures
    events = (
        (aggregated.profiles, batch.profiles_customer, profiles.updated_at),
        (aggregated.purchases, batch.purchases_customer, purchases.occurred_at),
        (aggregated.erasures, batch.erasures_customer, erasures.requested_at),
    )
    for place, (counted, customer, times) in enumerate(events):
        columns = np.flatnonzero(counted)
        # For repeated rows NumPy keeps the last assignment, which is the last event.
        rows = customer[columns]
        topic[rows], column[rows] = place, columns
        time_us[rows] = times[columns]
    return topic, column, time_us


def triggers_of(
    batch: MicroBatch, topics: Int, columns: Int, swept: Sequence[str]
) -> tuple[list[str], list[Trigger | None]]:
    """Return the origins of m changes, and the events that triggered them.

    Parameters
    ----------
    batch
        The micro-batch.
    topics, columns
        (m,) each customer's last event, as returned by `last_events`.
    swept
        (m,) origin for a customer without an event, which was only swept.
    """
    origins = list(swept)
    triggers: list[Trigger | None] = [None] * len(origins)
    for place, topic in enumerate(TOPICS):
        at = np.flatnonzero(topics == place)
        if not at.size:
            continue
        events = batch.events(topic, columns[at])
        for i, (record, event_id) in zip(at.tolist(), events, strict=True):
            is_history = topic != ERASURES and (ORIGIN_HEADER, BACKFILL) in record.headers
            origins[i] = "backfill" if is_history else _ORIGIN[topic]
            triggers[i] = Trigger(
                event_id,
                topic,
                record.partition,
                record.offset,
                arrived_ms=record.timestamp,
                traceparent=_traceparent(record) if record.headers else None,
            )
    return origins, triggers


def _traceparent(record: ConsumerRecord) -> bytes | None:
    value = next((value for name, value in record.headers if name == _TRACE), None)
    return value if value and _TRACEPARENT.fullmatch(value) else None


def changes_of(
    rows: Rows, work: Work, customers: Customers, aggregated: Aggregated, scores: Scores
) -> list[tuple[Change, Trigger | None]]:
    """Return the published changes of m rows, each with the event that triggered it."""
    records, model = aggregated.records[rows], scores.model
    clock_us, began_us = customers.clock_us[rows], customers.began_us[rows]
    topic, column, effective_us = last_events(work.batch, aggregated, customers.clock_us)
    rescored = np.array(
        [state.checkpoint.rescore == AFTER_RECOVERY for state in work.states], np.bool_
    )[customers.part[rows]]
    outdated = scores.outdated[rows]
    returned = records["erased"] & (records["version"] == 0)
    # In a rebuilt store, customers never scored are not affected by a new model.
    is_old = records["generation"] != model.generation.number
    new_model = is_old & (~rescored | (records["generation"] > 0))
    swept = np.where(new_model, "model", np.where(rescored, "recovery", "expiry"))
    swept = np.where(returned | outdated, "erasure", swept)
    # What ends a state from before an erasure is the erasure, whatever comes after it.
    last_topic = np.where(outdated & (topic[rows] != TOPICS.index(ERASURES)), -1, topic[rows])
    origins, triggers = triggers_of(work.batch, last_topic, column[rows], swept.tolist())
    time_us = arrived_us = effective_us[rows]
    if work.config.switching.min_dwell_us:
        # A late event counts from its arrival: the new segment was not published before, and it
        # must last from then on.
        arrived_us = np.where(time_us < began_us - TOLERANCE_US, began_us, time_us)
    # A trigger may be dated ahead of the clock; the dwell time must not start in the future.
    since_us = np.maximum(since(records, clock_us), np.minimum(arrived_us, clock_us))

    assignment, segment = scores.assignment.take(rows), scores.segment[rows]
    nearest = assignment.distances[np.arange(len(rows)), assignment.clusters]
    confidences: list[float | None] = assignment.confidence().round(4).tolist()
    distances: list[float | None] = nearest.round(4).tolist()
    runners_up = np.where(segment == NONE, NONE, model.segment_of_cluster[assignment.runner_up()])
    features = work.config.segmentation.features
    explanations, parts = reasons_of(rows, aggregated.records, scores, origins, features)
    others: list[OtherParts | None] = [*parts]
    for i in np.flatnonzero(segment == NONE).tolist():
        confidences[i], distances[i], explanations[i], others[i] = None, None, [], None
    columns = (
        [customers.names[row] for row in rows.tolist()],
        records["segment"].tolist(),
        segment.tolist(),
        origins,
        time_us.tolist(),
        since_us.tolist(),
        confidences,
        distances,
        runners_up.tolist(),
        explanations,
        others,
        records["marketing"].tolist(),
    )
    changes = map(Change._make, zip(*columns, strict=True))
    return list(zip(changes, triggers, strict=True))


def restate(
    rows: Rows, customers: Sequence[str], records: Records, scores: Scores | None
) -> list[SegmentStatus]:
    """Build the segment status of rows from updated records; scores may be missing."""
    confidence: list[float | None] = [None] * len(rows)
    if scores is not None and rows.size:
        confidence = scores.assignment.take(rows).confidence().round(4).tolist()
    return [
        SegmentStatus(
            customer_id=customers[row],
            segment=segment,
            since_us=int(records["since"][row]),
            version=int(records["version"][row]),
            confidence=confidence[i] if segment != NONE else None,
            marketing=int(records["marketing"][row]),
        )
        for i, (row, segment) in enumerate(
            zip(rows.tolist(), records["segment"][rows].tolist(), strict=True)
        )
    ]
