"""Records of the followed topics, as the service serializes them."""

from datetime import UTC, datetime, timedelta

from kafka.consumer.fetcher import ConsumerRecord

from livesegments.contracts.cloudevents import provenance
from livesegments.contracts.segments import (
    Explanation,
    ModelRef,
    PublishedConsent,
    SegmentChange,
    SegmentRef,
    SegmentState,
    encode,
)
from livesegments.contracts.topics import CHANGES, STATES

NOON = datetime(2026, 2, 25, 12, tzinfo=UTC)
A, B = SegmentRef(id="a", name="Segment A"), SegmentRef(id="b", name="Segment B")


def change(
    customer: str,
    version: int,
    before: SegmentRef | None = None,
    after: SegmentRef | None = A,
    *,
    origin: str = "live",
) -> SegmentChange:
    """Return a change, a minute after noon for each version."""
    kind = "assigned" if before is None else "unassigned" if after is None else "reassigned"
    return SegmentChange.model_validate(
        {
            "customer_id": customer,
            "change": kind,
            "previous_segment": before,
            "segment": after,
            "occurred_at": NOON + timedelta(minutes=version),
            "decided_at": NOON + timedelta(minutes=version, seconds=1),
            "version": version,
            "origin": origin,
            "cause": None,
            "confidence": 0.5,
            "distance": 1.5,
            "runner_up": B,
            "explanation": (Explanation(feature="spend", direction="above", z_score=0.65),),
            "model": ModelRef(generation=3, version=version),
            "consent": PublishedConsent(marketing=True),
        }
    )


def state(
    customer: str, version: int, segment: SegmentRef | None = A, *, marketing: bool | None = True
) -> SegmentState:
    """Return a state."""
    return SegmentState(
        customer_id=customer,
        segment=segment,
        since=NOON + timedelta(minutes=version),
        version=version,
        confidence=0.5,
        consent=PublishedConsent(marketing=marketing),
        model=ModelRef(generation=3, version=version),
    )


def headers(version: int) -> list[tuple[str, bytes]]:
    """Return the headers that the history reads."""
    return provenance("0123456789abcdef", version)


def record(
    topic: str, offset: int, key: str, value: bytes | None, version: int, partition: int = 0
) -> ConsumerRecord:
    """Return a record as a consumer gives it."""
    at_ms = round(NOON.timestamp() * 1_000) + offset
    raw = key.encode()
    size = -1 if value is None else len(value)
    return ConsumerRecord(
        *(topic, partition, None, offset, at_ms, 0, raw, value, headers(version)),
        *(None, len(raw), size, 0),
    )


def change_record(told: SegmentChange, offset: int, partition: int = 0) -> ConsumerRecord:
    """Return the record of a change."""
    value = encode(told)
    return record(CHANGES, offset, told.customer_id, value, told.version, partition)


def state_record(
    customer: str, version: int, offset: int, told: SegmentState | None = None, partition: int = 0
) -> ConsumerRecord:
    """Return the record of a state; without one, the null that forgets the customer."""
    value = None if told is None else encode(told)
    return record(STATES, offset, customer, value, version, partition)
