"""Keep every customer's segment in an SQLite table.

Needs: pip install kafka-python

Rows and offsets are written in one database transaction, so each record is applied exactly once,
wherever this is killed; the version check skips duplicates in any case. After days without a
write it starts from an empty table: tombstones stay on the topic for a week.

KAFKA_BOOTSTRAP_SERVERS=localhost:9092 python segments_to_sqlite.py segments.db
"""

import json
import os
import sqlite3
import sys
import time
from pathlib import Path

from kafka import KafkaConsumer, TopicPartition
from kafka.consumer.fetcher import ConsumerRecord

TOPIC = "customer-segments.v1"
AWAY_SECONDS = 6 * 24 * 3600
SCHEMA = """
CREATE TABLE IF NOT EXISTS segments (
    customer_id TEXT PRIMARY KEY, segment TEXT, since TEXT NOT NULL, version INTEGER NOT NULL,
    marketing INTEGER  -- 1 yes, 0 no, null not known
);
CREATE TABLE IF NOT EXISTS offsets ("partition" INTEGER PRIMARY KEY, next INTEGER NOT NULL);
CREATE VIEW IF NOT EXISTS audience AS  -- who may be written to
    SELECT customer_id, segment FROM segments WHERE segment IS NOT NULL AND marketing IS NOT 0;
"""
UPSERT = """
INSERT INTO segments VALUES (:customer_id, :segment, :since, :version, :marketing)
ON CONFLICT (customer_id) DO UPDATE SET
    segment = excluded.segment, since = excluded.since,
    version = excluded.version, marketing = excluded.marketing
WHERE excluded.version > segments.version
"""


def write(database: sqlite3.Connection, record: ConsumerRecord) -> None:
    """Write one record."""
    customer = record.key.decode()
    if record.value is None:  # erased
        database.execute("DELETE FROM segments WHERE customer_id = ?", (customer,))
        return
    state = json.loads(record.value)
    row = {  # unknown fields are ignored
        "customer_id": customer,
        "segment": state["segment"] and state["segment"]["id"],
        "since": state["since"],
        "version": int(dict(record.headers)["livesegments-version"]),
        "marketing": state["consent"]["marketing"],
    }
    database.execute(UPSERT, row)


def main() -> None:
    """Follow the topic until Ctrl-C."""
    file = Path(sys.argv[1])
    if file.exists() and time.time() - file.stat().st_mtime > AWAY_SECONDS:
        file.unlink()
    database = sqlite3.connect(file)
    database.executescript(SCHEMA)
    consumer = KafkaConsumer(
        bootstrap_servers=os.environ.get("KAFKA_BOOTSTRAP_SERVERS", "localhost:9092"),
        isolation_level="read_committed",
        auto_offset_reset="earliest",
        enable_auto_commit=False,
    )
    partitions = [TopicPartition(TOPIC, n) for n in consumer.partitions_for_topic(TOPIC)]
    consumer.assign(partitions)
    known = dict(database.execute('SELECT "partition", next FROM offsets'))
    for tp in partitions:
        consumer.seek(tp, known.get(tp.partition, 0))  # compaction may have removed it: earliest
    while True:
        polled = consumer.poll(500)
        with database:  # one transaction
            for tp, records in polled.items():
                for record in records:
                    write(database, record)
                end = (tp.partition, records[-1].offset + 1)
                database.execute("INSERT OR REPLACE INTO offsets VALUES (?, ?)", end)


if __name__ == "__main__":
    main()
