"""Kafka's offsets and the store's, each checked separately."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any
from unittest.mock import Mock

import pytest

from livesegments.contracts.topics import INPUTS
from livesegments.operations.verify.reading import Committed
from livesegments.operations.verify.report import Check
from livesegments.operations.verify.store_checks import MOST_BEHIND, check_offsets
from livesegments.operations.verify.store_reader import Cut

ENDS = dict.fromkeys(INPUTS, 10**9)
KAFKA = Committed(dict.fromkeys(INPUTS, 5), 7, known=True)


def cut(offsets: tuple[int, ...], version: int = 7) -> Cut:
    at: dict[str, Any] = {"recovering": False, "rescore": 0, "nonce": ""}
    at |= dict.fromkeys(("replayed", "remembered", "clock_us", "generation"), 0)
    at |= dict.fromkeys(("swept_generation", "swept_tile"), 0)
    return Cut(version=version, offsets=dict(zip(INPUTS, offsets, strict=True)), **at)


def faults(
    first: Cut, after: Cut, now: Committed = KAFKA, ends: Mapping[str, int] = ENDS
) -> list[str]:
    check = Check("offsets", "Kafka's offsets follow the store's")
    at = Mock(where="partition 0", committed=KAFKA)
    at.records.first = first
    check_offsets(check, at, after, now, ends)
    return check.faults


@pytest.mark.parametrize(
    ("stored", "fault"),
    [
        ((5, 5, 5), False),
        ((6, 5, 9), False),
        ((4, 5, 5), True),
        ((6, 4, 5), True),
        ((6, 6, 0), True),
    ],
)
def test_no_offset_of_kafka_may_be_beyond_the_stores(
    stored: tuple[int, int, int], fault: bool
) -> None:
    found = faults(cut(stored), cut(stored))
    assert found == ["partition 0: Kafka's offsets are beyond the store's"] * fault


def test_no_offset_of_the_store_may_be_beyond_the_log() -> None:
    ahead = cut((6, 6, 6))
    [fault] = faults(ahead, ahead, ends=ENDS | {INPUTS[1]: 5})
    assert INPUTS[1] in fault


def test_while_a_store_goes_on_kafkas_offsets_follow() -> None:
    first, after = cut((8, 8, 8), version=8), cut((9, 9, 9), version=9)
    [fault] = faults(first, after)
    assert "still at 7" in fault
    assert faults(first, after, replace(KAFKA, version=8)) == []


def test_where_nobody_is_at_work_they_are_behind_by_a_bound() -> None:
    behind = cut((5 + MOST_BEHIND, 5, 5))
    assert faults(behind, behind) == []
    further = cut((6 + MOST_BEHIND, 5, 5))
    assert len(faults(further, further)) == 1
