from typing import Any

import numpy as np
import pytest

from livesegments.contracts.dead_letters import Reason
from livesegments.contracts.decode import decode_erasures
from tests.livesegments.contracts.records import TIMESTAMP_MS, dumped, erasure


def test_erasures_become_rows_of_columns_and_the_rest_is_refused() -> None:
    values = [
        dumped(erasure),
        b"{",
        dumped(erasure, request_id="r-2", action="suppress"),
        dumped(
            erasure, request_id="r-3", action="restore", requested_at="2026-02-25T07:00:00.5+01:00"
        ),
    ]
    erasures, rejections = decode_erasures([b"c-1"] * 4, values, [TIMESTAMP_MS] * 4)
    assert erasures.row.tolist() == [0, 2, 3]
    assert erasures.customer_id == ["c-1"] * 3
    assert erasures.request_id == ["r-1", "r-2", "r-3"]
    start = 1_771_999_200_000_000
    assert erasures.requested_at.tolist() == [start, start, start + 500_000]
    assert erasures.action.tolist() == [0, 1, 2]
    assert erasures.action.dtype == np.int8
    assert [(one.row, one.reason) for one in rejections] == [(1, Reason.NOT_JSON)]


@pytest.mark.parametrize(
    ("changes", "key", "reason"),
    [
        ({"request_id": ...}, b"c-1", Reason.SCHEMA_INVALID),
        ({"request_id": ""}, b"c-1", Reason.SCHEMA_INVALID),
        ({"action": "delete"}, b"c-1", Reason.SCHEMA_INVALID),
        ({"action": None}, b"c-1", Reason.SCHEMA_INVALID),
        ({"requested_at": "2026-02-25"}, b"c-1", Reason.SCHEMA_INVALID),
        ({"requested_at": "2026-02-31T00:00:00Z"}, None, Reason.SCHEMA_INVALID),
        ({"requested_at": "1960-02-01T00:00:00Z"}, None, Reason.KEY_MISMATCH),
        ({"requested_at": "1960-02-01T00:00:00Z"}, b"c-1", Reason.TOO_OLD),
        ({"requested_at": "2026-02-25T06:18:21Z"}, b"c-1", Reason.FUTURE_DATED),
    ],
)
def test_a_faulty_erasure_is_refused_for_its_fault(
    changes: dict[str, Any], key: bytes | None, reason: Reason
) -> None:
    erasures, (rejection,) = decode_erasures([key], [dumped(erasure, **changes)], [TIMESTAMP_MS])
    assert rejection.reason is reason
    assert erasures.customer_id == []


def test_a_null_erasure_is_refused() -> None:
    _, (rejection,) = decode_erasures([b"c-1"], [None], [TIMESTAMP_MS])
    assert rejection.reason is Reason.NULL_VALUE
