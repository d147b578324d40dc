"""Writes records of the followed topics into the tables, as SQL on whole batches.

DuckDB parses the JSON. A record that is not of its topic's contract, written by another producer,
is left out and counted.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import duckdb
import numpy as np
from kafka import TopicPartition
from kafka.consumer.fetcher import ConsumerRecord

from livesegments.contracts.cloudevents import read_provenance
from livesegments.contracts.dead_letters import parse
from livesegments.contracts.topics import CHANGES, DEAD_LETTERS, DEFINITIONS, REPLAYS, STATES

FORGETTING = ("customers", "surveyed_customers", "surveyed_purchases")
"""Tables with a ``customer_id`` whose rows go when the customer's state is null."""

_EXPIRING = {CHANGES: ("changes",), DEAD_LETTERS: ("dead_letters", "dead_letter_replays")}
"""Topics with a retention, and the tables by their offsets."""

_REF = {"id": "VARCHAR"}
_MODEL = {"generation": "BIGINT", "version": "BIGINT"}
_CONSENT = {"marketing": "BOOLEAN"}
_CHANGE = {
    "customer_id": "VARCHAR",
    "change": "VARCHAR",
    "previous_segment": _REF,
    "segment": _REF,
    "occurred_at": "TIMESTAMP",
    "decided_at": "TIMESTAMP",
    "version": "BIGINT",
    "origin": "VARCHAR",
    "model": _MODEL,
    "confidence": "DOUBLE",
    "distance": "DOUBLE",
    "runner_up": _REF,
    "explanation": [
        {
            "feature": "VARCHAR",
            "direction": "VARCHAR",
            "z_score": "DOUBLE",
            "previous_z_score": "DOUBLE",
            "contribution": "DOUBLE",
        }
    ],
    "other_contributions": {"model": "DOUBLE", "profile": "DOUBLE"},
    "consent": _CONSENT,
}
_STATE = {
    "segment": _REF,
    "since": "TIMESTAMP",
    "version": "BIGINT",
    "confidence": "DOUBLE",
    "consent": _CONSENT,
    "model": _MODEL,
}
_DEFINITION = {"id": "VARCHAR", "generation": "BIGINT", "version": "BIGINT"}
_REPLAY = {
    "partition": "INTEGER",
    "offset": "BIGINT",
    "timestamp_ms": "BIGINT",
    "replayed_at": "TIMESTAMP",
}

_PARSED = """
CREATE OR REPLACE TEMP TABLE parsed AS
SELECT
    * EXCLUDE (value),
    json_transform(CASE WHEN json_valid(value) THEN value END, '{structure}') AS r{more}
FROM polled
"""

_CHANGES = """
CREATE OR REPLACE TEMP TABLE new_changes AS
SELECT
    "partition", "offset", make_timestamp(timestamp_ms * 1000) AS published_at,
    r.customer_id, md5_number_lower(r.customer_id) AS customer_key, r.change,
    r.previous_segment.id AS previous, r.segment.id AS segment,
    r.occurred_at, r.decided_at, r.version, r.origin, r.model.generation AS generation,
    r.model.version AS model_version, r.confidence, r.distance, r.runner_up.id AS runner_up,
    coalesce(r.explanation, []) AS explanation, r.other_contributions,
    r.consent.marketing AS marketing
FROM parsed
WHERE r.customer_id IS NOT NULL AND r.change IS NOT NULL AND r.occurred_at IS NOT NULL
    AND r.decided_at IS NOT NULL AND r.version IS NOT NULL AND r.origin IS NOT NULL
    AND r.model.generation IS NOT NULL AND r.model.version IS NOT NULL;
INSERT INTO changes SELECT * FROM new_changes;
MERGE INTO moves USING (
    SELECT date_trunc('hour', occurred_at) AS hour, previous, segment, origin, count(*) AS changes
    FROM new_changes GROUP BY ALL
) AS new
ON moves.hour = new.hour AND moves.origin = new.origin
    AND moves.previous IS NOT DISTINCT FROM new.previous
    AND moves.segment IS NOT DISTINCT FROM new.segment
WHEN MATCHED THEN UPDATE SET changes = moves.changes + new.changes
WHEN NOT MATCHED THEN INSERT VALUES (new.hour, new.previous, new.segment, new.origin, new.changes)
"""

_STATES = """
CREATE OR REPLACE TEMP TABLE new_states AS
SELECT
    key AS customer_id, md5_number_lower(key) AS customer_key, "partition",
    r.segment.id AS segment, r.since, r.version, r.confidence, r.consent.marketing AS marketing,
    r.model.generation AS generation, has_value
FROM parsed
WHERE NOT has_value
    OR (r.since IS NOT NULL AND r.version IS NOT NULL AND r.model.generation IS NOT NULL)
QUALIFY row_number() OVER (PARTITION BY key ORDER BY "offset" DESC) = 1;
DELETE FROM customers USING new_states AS new
WHERE customers.customer_key = new.customer_key AND customers.customer_id = new.customer_id;
INSERT INTO customers SELECT * EXCLUDE (has_value) FROM new_states WHERE has_value
"""

_FORGOTTEN = """
CREATE OR REPLACE TEMP TABLE forgotten AS
SELECT key AS customer_id, md5_number_lower(key) AS customer_key, max(version) AS version
FROM parsed WHERE NOT has_value GROUP BY ALL;
DELETE FROM changes USING forgotten
WHERE changes.customer_key = forgotten.customer_key
    AND changes.customer_id = forgotten.customer_id AND changes.version <= forgotten.version
"""

_FORGOTTEN_FROM = "DELETE FROM {table} WHERE customer_id IN (SELECT customer_id FROM forgotten)"

_DEFINITIONS = """
MERGE INTO definitions USING (
    SELECT
        r.generation, r.id AS segment, r.version,
        min(make_timestamp(timestamp_ms * 1000)) OVER (PARTITION BY r.generation, r.id) AS first_at,
        make_timestamp(timestamp_ms * 1000) AS published_at, value
    FROM parsed
    WHERE r.generation IS NOT NULL AND r.id IS NOT NULL AND r.version IS NOT NULL
    QUALIFY row_number() OVER (PARTITION BY r.generation, r.id ORDER BY "offset" DESC) = 1
) AS new
ON definitions.generation = new.generation AND definitions.segment = new.segment
WHEN MATCHED THEN UPDATE SET
    version = new.version, published_at = new.published_at, value = new.value
WHEN NOT MATCHED THEN INSERT VALUES (
    new.generation, new.segment, new.version, new.first_at, new.published_at, new.value
)
"""

_REPLAYS = """
INSERT INTO dead_letter_replays
SELECT r."partition", r."offset", r.timestamp_ms, r.replayed_at FROM parsed
WHERE r."partition" IS NOT NULL AND r."offset" IS NOT NULL AND r.timestamp_ms IS NOT NULL
    AND r.replayed_at IS NOT NULL
"""

_COMPACTED_AWAY = """
DELETE FROM changes WHERE NOT EXISTS (
    FROM customers
    WHERE customers.customer_key = changes.customer_key
        AND customers.customer_id = changes.customer_id
);
DELETE FROM changes USING (
    SELECT customer_key, customer_id, max(version - (segment IS NOT NULL)::INT) AS version
    FROM changes WHERE origin = 'erasure' GROUP BY ALL
) AS erased
WHERE changes.customer_key = erased.customer_key AND changes.customer_id = erased.customer_id
    AND changes.version <= erased.version
"""

Connection = duckdb.DuckDBPyConnection
Polled = Mapping[str, Sequence[ConsumerRecord]]
"""Topic -> new records, those of a partition in the order of their offsets."""


def write(connection: Connection, polled: Polled) -> int:
    """Write the records of a batch; return how many were not of their topic's contract.

    The changes are written first: a null state deletes those before it, so the batch must hold all
    of them that are not written yet.
    """
    bad = 0
    for topic, apply in _WRITERS.items():
        records = polled.get(topic)
        if records:
            bad += apply(connection, records)
    return bad


def delete_unowned(connection: Connection) -> None:
    """Delete the changes of customers whose null state compaction has removed.

    They have no state, or one from after the erasure, which is then a change to no segment.
    """
    connection.execute(_COMPACTED_AWAY)


def delete_before(connection: Connection, tp: TopicPartition, offset: int) -> None:
    """Delete the rows of a partition's records before an offset: its topic holds them no more."""
    for table in _EXPIRING.get(tp.topic, ()):
        connection.execute(
            f'DELETE FROM {table} WHERE "partition" = ? AND "offset" < ?',  # noqa: S608 - ours
            [tp.partition, offset],
        )


def _write_changes(connection: Connection, records: Sequence[ConsumerRecord]) -> int:
    _parse(connection, records, _CHANGE)
    connection.execute(_CHANGES)
    [(written,)] = connection.execute("SELECT count(*) FROM new_changes").fetchall()
    return len(records) - int(written)


def _write_states(connection: Connection, records: Sequence[ConsumerRecord]) -> int:
    _parse(connection, records, _STATE)
    if any(record.value is None for record in records):
        connection.execute(_FORGOTTEN)
        for table in FORGETTING:
            connection.execute(_FORGOTTEN_FROM.format(table=table))
    connection.execute(_STATES)
    [(bad,)] = connection.execute(
        "SELECT count(*) FROM parsed WHERE has_value AND (r IS NULL OR r.since IS NULL"
        " OR r.version IS NULL OR r.model.generation IS NULL)"
    ).fetchall()
    return int(bad)


def _write_definitions(connection: Connection, records: Sequence[ConsumerRecord]) -> int:
    _parse(connection, records, _DEFINITION, ", value")
    connection.execute(_DEFINITIONS)
    return 0


def _write_dead_letters(connection: Connection, records: Sequence[ConsumerRecord]) -> int:
    rows = []
    for record in records:
        try:
            origin = parse(record.headers)
        except ValueError:
            continue
        rows.append((record, origin))
    if rows:
        at = [record.timestamp for record, _ in rows]
        connection.register(
            "letters",
            {
                "partition": np.array([record.partition for record, _ in rows], np.int32),
                "offset": np.array([record.offset for record, _ in rows], np.int64),
                "timestamp_ms": np.array(at, np.int64),
                "reason": np.array([origin.reason for _, origin in rows], object),
                "topic": np.array([origin.topic for _, origin in rows], object),
                "topic_partition": np.array([origin.partition for _, origin in rows], np.int32),
                "topic_offset": np.array([origin.offset for _, origin in rows], np.int64),
                "source": np.array([origin.source or "" for _, origin in rows], object),
                "message": np.array([origin.message for _, origin in rows], object),
            },
        )
        connection.execute(
            'INSERT INTO dead_letters SELECT "partition", "offset", timestamp_ms,'
            " make_timestamp(timestamp_ms * 1000), reason, topic, topic_partition, topic_offset,"
            " nullif(source, ''), message FROM letters"
        )
        connection.unregister("letters")
    return len(records) - len(rows)


def _write_replays(connection: Connection, records: Sequence[ConsumerRecord]) -> int:
    _parse(connection, records, _REPLAY)
    connection.execute(_REPLAYS)
    return 0


_WRITERS: Mapping[str, Callable[[Connection, Sequence[ConsumerRecord]], int]] = {
    CHANGES: _write_changes,
    STATES: _write_states,
    DEFINITIONS: _write_definitions,
    DEAD_LETTERS: _write_dead_letters,
    REPLAYS: _write_replays,
}


def _parse(
    connection: Connection, records: Sequence[ConsumerRecord], structure: object, more: str = ""
) -> None:
    """Create the table ``parsed`` of records, with fields of their values in ``r``."""
    columns: dict[str, Any] = {
        "partition": np.array([record.partition for record in records], np.int32),
        "offset": np.array([record.offset for record in records], np.int64),
        "timestamp_ms": np.array([max(record.timestamp, 0) for record in records], np.int64),
        "key": np.array([_text(record.key) for record in records], object),
        "value": np.array([_text(record.value) for record in records], object),
        "has_value": np.array([record.value is not None for record in records], bool),
        "version": np.array([version_of(record) for record in records], np.int64),
    }
    connection.register("polled", columns)
    connection.execute(_PARSED.format(structure=json.dumps(structure), more=more))


def version_of(record: ConsumerRecord) -> int:
    """Return the version of a record; one of another producer is newer than all."""
    provenance = read_provenance(record.headers)
    return provenance[1] if provenance else np.iinfo(np.int64).max


def _text(data: bytes | None) -> str:
    return (data or b"").decode(errors="replace")
