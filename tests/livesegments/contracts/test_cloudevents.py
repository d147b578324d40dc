import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from livesegments.contracts import cloudevents


def test_headers_of_an_event_in_binary_mode() -> None:
    headers = cloudevents.shared_headers(
        version=42,
        event_type=cloudevents.SEGMENT_CHANGE,
        time="2026-02-25T06:00:00.000001Z",
        nonce="0123456789abcdef",
        group="shop",
    )
    assert headers == [
        ("ce_specversion", b"1.0"),
        ("ce_type", b"io.livesegments.segment-change.v1"),
        ("ce_source", b"/livesegments/shop"),
        ("ce_time", b"2026-02-25T06:00:00.000001Z"),
        ("content-type", b"application/json"),
        ("livesegments-nonce", b"0123456789abcdef"),
        ("livesegments-version", b"42"),
    ]


@given(st.integers(0, 1000), st.integers(0, 2**63), st.text())
def test_the_id_is_a_uuid5(partition: int, version: int, customer_id: str) -> None:
    topic = "customer-segments.v1"
    expected = uuid.uuid5(cloudevents.NAMESPACE, f"{topic}/{partition}/{version}/{customer_id}")
    found = cloudevents.event_ids(topic, partition, version, [customer_id.encode(), b"other"])
    assert found[0] == str(expected).encode()
    assert len(found) == 2


def test_the_namespace_never_changes() -> None:
    published = cloudevents.event_ids("segment-changes.v1", 0, 1, [b"c-1"])
    assert published == [b"2964a3eb-4dd4-53da-86a5-b2cc2ea9706a"]


def test_the_last_provenance_counts() -> None:
    headers: list[tuple[str, bytes | None]] = [
        *cloudevents.provenance("a" * 16, 1),
        ("trace", None),
        *cloudevents.provenance("b" * 16, 2),
    ]
    assert cloudevents.read_provenance(headers) == ("b" * 16, 2)


@pytest.mark.parametrize(
    "headers",
    [
        [],
        [("livesegments-nonce", b"a" * 16)],
        [("livesegments-version", b"1")],
        [("livesegments-nonce", b"a" * 16), ("livesegments-version", b"-1")],
        [("livesegments-nonce", b"a" * 16), ("livesegments-version", None)],
        [("livesegments-nonce", b"a" * 16), ("livesegments-version", b"9" * 19)],
        [("livesegments-nonce", b"a" * 16), ("livesegments-version", b"9" * 5_000)],
    ],
)
def test_a_record_of_others_has_no_provenance(headers: list[tuple[str, bytes | None]]) -> None:
    assert cloudevents.read_provenance(headers) is None
