"""Kafka's offsets against the store's, each by itself."""

from unittest.mock import Mock

import pytest
from kafka.structs import OffsetAndMetadata

from contracts.topics import INPUTS
from livesegments.verify.of_store import check_quiet
from livesegments.verify.report import Check


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
    partition = Mock(
        recovering=False, rescore=False, outbox=[], offsets=dict(zip(INPUTS, stored, strict=True))
    )
    consumer = Mock(committed=Mock(return_value=OffsetAndMetadata(5, "00:1", -1)))
    check = Check("quiet", "nothing is under way")
    check_quiet(check, "partition 0", partition, consumer, 0)
    assert check.faults == ["partition 0: Kafka's offsets are beyond the store's"] * fault
