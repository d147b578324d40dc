"""Segment changes of scored customers: their triggers, explanations and current states."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from kafka.consumer.fetcher import ConsumerRecord
from numpy.typing import NDArray

from livesegments.consumers.aggregation import Applied
from livesegments.consumers.decoding import MicroBatch, PartitionBatch
from livesegments.consumers.scoring import NONE, Scores, since
from livesegments.contracts.events import BACKFILL, ORIGIN_HEADER
from livesegments.contracts.topics import ERASURES, PROFILES, PURCHASES
from livesegments.domain import Change, SegmentStatus, Trigger, estimator
from livesegments.features.feature_specs import FEATURES
from livesegments.features.record_codec import Records
from livesegments.model.kmeans import MiniBatchKMeans
from livesegments.model.snapshot import ModelSnapshot

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


Rows = NDArray[np.intp]


def relearn(
    estimators: dict[int, MiniBatchKMeans], records: Records, scores: Scores, generation: int
) -> dict[int, MiniBatchKMeans]:
    """Revert each record from its previous cluster and learn it in its current one.

    The learned cluster, vector and generation are taken from the record, not predicted again, so
    the statistics stay exact however often a customer moves.

    Parameters
    ----------
    estimators
        Generation -> estimator before; not modified.
    records
        (n,) records; their cluster, vector and generation are updated in place.
    scores
        Scores of the same records.
    generation
        The generation they were scored under.

    Returns
    -------
    Generation -> estimator after; an older generation without members is dropped.
    """
    moved = np.flatnonzero(
        (records["cluster"] != scores.cluster)
        | (records["generation"] != generation)
        | (records["vector"] != scores.fixed).any(axis=1)
    )
    was, vectors, clusters = (records[name][moved] for name in ("generation", "vector", "cluster"))
    left = np.unique(was[clusters != NONE]).tolist()
    after = dict(estimators)
    for number in {*left, generation} if moved.size else ():
        after[number] = after[number].copy() if number in after else estimator()
    for number in left:
        rows = was == number
        after[number].revert_arrays(vectors[rows], clusters[rows])
    if moved.size:
        after[generation].learn_arrays(scores.fixed[moved], scores.cluster[moved])
    records["cluster"] = scores.cluster
    records["vector"] = np.where(scores.counted[:, None], scores.fixed, 0)
    records["generation"] = generation
    return {
        number: each
        for number, each in after.items()
        if number == generation or each.statistics.members.any()
    }


def changed_rows(records: Records, scores: Scores) -> Rows:
    """Return the rows whose published segment changes."""
    return np.flatnonzero(records["segment"] != scores.segment)


def explain(
    rows: Rows,
    customers: Sequence[str],
    records: Records,
    scores: Scores,
    origins: Sequence[str],
    time_us: NDArray[np.int64],
    clock_us: int,
    snapshot: ModelSnapshot,
    segment_of_cluster: NDArray[np.int8],
) -> list[Change]:
    """Build the published changes of m rows from records that are not updated yet.

    ``origins`` (m,) and ``time_us`` (m,) are the origin and the effective time of each change.
    """
    if not rows.size:
        return []
    assignment = scores.assignment.take(rows)
    nearest = assignment.distances[np.arange(len(rows)), assignment.clusters]
    segment = scores.segment[rows]
    confidences: list[float | None] = assignment.confidence().round(4).tolist()
    distances: list[float | None] = nearest.round(4).tolist()
    runners_up = np.where(segment == NONE, NONE, segment_of_cluster[assignment.runner_up()])
    explanations = _strongest(snapshot.zscores(scores.vectors[rows]).round(2))
    for i in np.flatnonzero(segment == NONE).tolist():
        confidences[i], distances[i], explanations[i] = None, None, []
    columns = (
        [customers[row] for row in rows.tolist()],
        rows.tolist(),
        records["segment"][rows].tolist(),
        segment.tolist(),
        origins,
        time_us.tolist(),
        # A trigger may be dated ahead of the clock; the dwell time must not start in the future.
        np.maximum(since(records[rows], clock_us), np.minimum(time_us, clock_us)).tolist(),
        confidences,
        distances,
        runners_up.tolist(),
        explanations,
        records["marketing"][rows].tolist(),
    )
    return list(map(Change._make, zip(*columns, strict=True)))


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


def _strongest(zscores: NDArray[np.float64]) -> list[list[tuple[str, float]]]:
    """Return each row's known features, the farthest from the average customer first."""
    order = np.argsort(-np.nan_to_num(np.abs(zscores), nan=-1.0), axis=1, kind="stable")
    ordered = np.take_along_axis(zscores, order, axis=1)
    known = np.count_nonzero(~np.isnan(zscores), axis=1).tolist()
    names = np.array(FEATURES)[order].tolist()
    return [
        list(zip(named[:n], values[:n], strict=True))
        for named, values, n in zip(names, ordered.tolist(), known, strict=True)
    ]
