"""Outputs of another producer are faults of the report, not of the verifier."""

from unittest.mock import Mock

from kafka.consumer.fetcher import ConsumerRecord

from livesegments.contracts.topics import STATES
from livesegments.operations.verify.report import Check
from livesegments.operations.verify.topic_checks import check_ids, last_states


def record(offset: int, key: bytes, event_id: bytes | None) -> ConsumerRecord:
    headers = [("ce_id", event_id)]
    return ConsumerRecord(STATES, 0, -1, offset, 0, 0, key, b"{}", headers, None, 1, 2, 0)


def test_keys_and_ids_may_be_any_bytes() -> None:
    records = [record(0, b"\xff\xfe", b"\xff"), record(1, b"c1", None), record(2, b"c2", b"id")]
    at = Mock(where="partition 0")
    at.bound.return_value = 0
    states, _ = last_states(at, records)
    assert set(states) == {"\ufffd\ufffd", "c1", "c2"}
    check = Check("ids", "no event id is published twice")
    check_ids(check, at, records)
    assert check.cases == 3
    assert check.faults == ["partition 0: ce_id '' 1 times"]
