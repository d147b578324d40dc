"""Transformation of a micro-batch: source records to events, dead letters and counts."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from kafka.consumer.fetcher import ConsumerRecord
from numpy.typing import NDArray

from livesegments.contracts.dead_letters import Reason, Rejection
from livesegments.contracts.decode import decoder
from livesegments.contracts.timestamps import record_times_us
from livesegments.contracts.topics import ERASURES, PROFILES, PURCHASES
from livesegments.ingest.decoding import Decoder
from livesegments.ingest.definitions import Into, Source, Table
from livesegments.ingest.query import Query, Records, Rows
from livesegments.ingest.registry import SchemaRegistry

TOPICS: Mapping[Into, str] = {"purchases": PURCHASES, "profiles": PROFILES, "erasures": ERASURES}
_NO_HEADERS = "{}"


class Event(NamedTuple):
    """A record for an input topic, and the row of its source record in the micro-batch."""

    row: int
    key: bytes
    value: bytes | None


@dataclass(slots=True)
class Transformed:
    """Result of a micro-batch: events, dead letters by row, and records that the query leaves out.

    No event of a rejected record is sent. Those of a partly valid one are: they take effect in the
    worker, which makes the dead letter.
    """

    events: list[Event] = field(default_factory=list)
    rejected: dict[int, Rejection] = field(default_factory=dict)
    partly_valid: dict[int, Rejection] = field(default_factory=dict)
    filtered: int = 0


class Transform:
    """The decoder, the query and the contract of a source.

    Formats with schemas need the ``registry``; currency and consent are the deployment's.
    """

    def __init__(
        self,
        source: Source,
        tables: Sequence[Table],
        registry: SchemaRegistry | None,
        currency: str,
        *,
        consent_required: bool = False,
    ) -> None:
        self.source, self.topic = source, TOPICS[source.into]
        self._decode = decoder(self.topic, currency, consent_required=consent_required)
        self._decoder = Decoder(source, registry)
        self.query = Query(
            source.query,
            source.into,
            currency=currency,
            tables=tables,
            json=source.format != "string",
        )

    def check(self, records: Sequence[ConsumerRecord], *, halve_slow: bool = True) -> None:
        """Check on a sample that the query works record by record; raises as `Query.check`."""
        if records:
            self.query.check(self._decoded(records)[0], halve_slow=halve_slow)

    def run(
        self, records: Sequence[ConsumerRecord], now_ms: int, *, halve_slow: bool = True
    ) -> Transformed:
        """Transform records of the source's topic, in the order in which to send their events.

        ``now_ms`` is the timestamp that the broker would assign to the events; ``halve_slow`` is
        as for `Query.run`.
        """
        decoded, undecodable = self._decoded(records)
        rows = self.query.run(decoded, halve_slow=halve_slow)
        faults = [
            *((row, Reason.NOT_JSON, "value: is no JSON") for row in rows.not_json),
            *((row, Reason.QUERY_FAILED, why) for row, why in rows.failed.items()),
            *((row, Reason.UNDECODABLE, f"value: {why}") for row, why in undecodable.items()),
        ]
        # The record's own time bounds a clock here that is behind.
        times_ms = np.maximum(decoded.timestamps_ms, now_ms)
        refused, partly_valid = self._refused(rows, times_ms)
        rejected = {each[0]: Rejection(*each) for each in faults} | refused
        events = [
            Event(row, key or b"", value)
            for row, key, value in zip(rows.record, rows.keys, rows.values, strict=True)
            if row not in rejected
        ]
        made = len({*rows.record, *rejected})
        return Transformed(events, rejected, partly_valid, filtered=len(records) - made)

    def _decoded(self, records: Sequence[ConsumerRecord]) -> tuple[Records, dict[int, str]]:
        values, undecodable = self._decoder.values([each.value for each in records])
        return Records(
            topic=self.source.topic,
            keys=self._decoder.keys([each.key for each in records]),
            values=values,
            headers=[_headers(each) for each in records],
            partitions=np.array([each.partition for each in records], np.int32),
            offsets=np.array([each.offset for each in records], np.int64),
            timestamps_ms=_timestamps_ms(records),
            is_decoded=np.array([row not in undecodable for row in range(len(records))], np.bool_),
        ), undecodable

    def _refused(
        self, rows: Rows, times_ms: NDArray[np.int64]
    ) -> tuple[dict[int, Rejection], dict[int, Rejection]]:
        """Return why the contract refuses a row of a record, or a part of it, by record.

        ``times_ms`` (n,) are the timestamps that a broker would assign to the records' events.
        """
        timestamps = times_ms[rows.record].tolist()
        accepted, rejections = self._decode(rows.keys, rows.values, timestamps)
        takes_effect = set(accepted.row.tolist() if rejections else ())
        refused: dict[int, Rejection] = {}
        partly_valid: dict[int, Rejection] = {}
        for each in rejections:
            record = rows.record[each.row]
            told = partly_valid if each.row in takes_effect else refused
            told.setdefault(record, Rejection(record, each.reason, each.message))
        return refused, partly_valid


def _timestamps_ms(records: Sequence[ConsumerRecord]) -> NDArray[np.int64]:
    """Return the times of records in milliseconds, (n,), -1 for none, whatever their unit."""
    micros = record_times_us([each.timestamp for each in records])
    return np.where(micros > 0, micros // 1_000, -1)


def _headers(record: ConsumerRecord) -> str:
    if not record.headers:
        return _NO_HEADERS
    return json.dumps(
        {
            name: None if value is None else value.decode(errors="backslashreplace")
            for name, value in record.headers
        }
    )
