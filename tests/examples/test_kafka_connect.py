"""The example of a sink by Kafka Connect, on output really published by the service."""

import json
from pathlib import Path
from typing import Any

import pytest

from livesegments.contracts.topics import STATES
from tests.examples.test_examples import published, segments, states, wait_for
from tests.livesegments.contracts.recording import Topics
from tests.servers import KafkaServer
from tests.servers.kafka_connect import KafkaConnect
from tests.servers.postgres_server import PostgresServer

__all__ = ["published"]

pytestmark = [pytest.mark.servers, pytest.mark.timeout(400)]

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "kafka_connect"
TEXT = (EXAMPLE / "segments_to_postgresql.json").read_text()


def connector(database: PostgresServer) -> dict[str, Any]:
    """Return the example with the address of a database, and nothing else changed."""
    document: dict[str, Any] = json.loads(TEXT)
    document["config"] |= {"connection.url": database.url, "connection.username": "postgres"}
    return document


def test_a_table_has_everyone_who_is_not_erased_though_connect_is_killed(
    published: Topics, fresh_kafka: KafkaServer, tmp_path: Path
) -> None:
    wanted = {name: segment or "" for name, segment in segments(published).items()}
    assert any(record.value is None for record in published[STATES])
    with PostgresServer() as database:
        database.query((EXAMPLE / "customer_segments.sql").read_text())

        def table() -> dict[str, str]:
            return {row[0]: row[1] for row in database.query("SELECT * FROM customer_segments")}

        example = connector(database)
        connect = KafkaConnect(fresh_kafka, tmp_path)
        try:
            connect.start()
            connect.create(example)
            wait_for(lambda: table() or failed(connect, example), "the table has rows")
            connect.kill()
            connect.start()
            connect.create(example)
            wait_for(
                lambda: table() == wanted or failed(connect, example), "the table has everyone"
            )
            assert not failed(connect, example), connect.state(example["name"])
        finally:
            connect.kill()
        read = database.query(
            "SELECT customer_id, consent_marketing, version FROM customer_segments"
        )
        told = {True: "t", False: "f", None: ""}
        assert {tuple(row) for row in read} == {
            (name, told[state["consent"]["marketing"]], str(state["version"]))
            for name, state in states(published).items()
        }
        audience = {row[0] for row in database.query("SELECT * FROM audience")}
        assert audience == {
            name
            for name, state in states(published).items()
            if state["segment"] and state["consent"]["marketing"] is not False
        }


def failed(connect: KafkaConnect, example: dict[str, Any]) -> bool:
    return any(each not in ("RUNNING", "UNASSIGNED") for each in connect.state(example["name"]))
