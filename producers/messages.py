"""The records that go out: changes, states, definitions, tombstones and dead letters."""

from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from kafka.consumer.fetcher import ConsumerRecord

from contracts import cloudevents, dead_letters
from contracts.dead_letters import Rejection
from contracts.instants import rfc3339
from contracts.segments import encode
from contracts.topics import CHANGES, DEAD_LETTERS, DEFINITIONS, STATES
from store.outbox import Output

_MARKETING = {-1: None, 0: False, 1: True}
_TYPES = {
    CHANGES: cloudevents.SEGMENT_CHANGE,
    STATES: cloudevents.SEGMENT_STATE,
    DEFINITIONS: cloudevents.SEGMENT_DEFINITION,
}


@dataclass(frozen=True, slots=True)
class Change:
    """A change of the published segment of one customer; segments as indexes, -1 for none.

    ``row`` is the customer's row in the round. ``time_us`` is when it happened and ``since_us``
    since when the segment holds, in microseconds.
    """

    customer_id: str
    row: int
    previous: int
    segment: int
    origin: str
    time_us: int
    since_us: int
    confidence: float | None
    distance: float | None
    runner_up: int
    explanation: list[tuple[str, float]]
    marketing: int

    @property
    def kind(self) -> str:
        """assigned, reassigned or unassigned."""
        if self.previous < 0:
            return "assigned"
        return "reassigned" if self.segment >= 0 else "unassigned"


@dataclass(frozen=True, slots=True)
class Standing:
    """Where a customer is, and since which change; the segment as an index, -1 for none."""

    customer_id: str
    segment: int
    since_us: int
    version: int
    confidence: float | None
    marketing: int


@dataclass(frozen=True, slots=True)
class Cause:
    """The event that made a change."""

    event_id: str | None
    topic: str
    partition: int
    offset: int
    arrived_ms: int
    traceparent: bytes | None = None


class Messages:
    """Makes the outputs of one commit: they carry its version and its owner's nonce."""

    def __init__(
        self,
        *,
        group_id: str,
        partition: int,
        version: int,
        nonce: str,
        generation: int,
        decided_at_us: int,
        segments: Sequence[tuple[str, str]],
    ) -> None:
        self.group_id, self.partition = group_id, partition
        self.version, self.nonce, self.generation = version, nonce, generation
        self.decided_at = rfc3339([decided_at_us])[0]
        self.decided_at_us = decided_at_us
        self._refs: list[dict[str, str] | None] = [
            {"id": segment_id, "name": name} for segment_id, name in segments
        ]
        self._refs.append(None)  # index -1

    def changes(
        self,
        changes: Sequence[Change],
        causes: Sequence[Cause | None],
        forgotten: Container[str] = (),
    ) -> list[Output]:
        """Return the change and the new state of each changed customer.

        Those ``forgotten`` get no state: they get a `tombstone`, of the same ``ce_id``, instead.
        """
        occurred = rfc3339([change.time_us for change in changes])
        since = rfc3339([change.since_us for change in changes])
        outputs: list[Output] = []
        for i, (change, cause) in enumerate(zip(changes, causes, strict=True)):
            consent = {"marketing": _MARKETING[change.marketing]}
            segment = self._refs[change.segment]
            model = {"generation": self.generation, "version": self.version}
            value = {
                "customer_id": change.customer_id,
                "change": change.kind,
                "previous_segment": self._refs[change.previous],
                "segment": segment,
                "occurred_at": occurred[i],
                "decided_at": self.decided_at,
                "version": self.version,
                "origin": change.origin,
                "cause": cause
                and {
                    "event_id": cause.event_id,
                    "topic": cause.topic,
                    "partition": cause.partition,
                    "offset": cause.offset,
                },
                "confidence": change.confidence,
                "distance": change.distance,
                "runner_up": self._refs[change.runner_up],
                "explanation": [
                    {
                        "feature": feature,
                        "direction": "above" if z >= 0 else "below",
                        "z_score": z,
                    }
                    for feature, z in change.explanation
                ],
                "model": model,
                "consent": consent,
            }
            trace = [("traceparent", cause.traceparent)] if cause and cause.traceparent else []
            outputs.append(self._event(CHANGES, change.customer_id, value, trace))
            if change.customer_id in forgotten:
                continue
            state = {
                "customer_id": change.customer_id,
                "segment": segment,
                "since": since[i],
                "version": self.version,
                "confidence": change.confidence,
                "consent": consent,
                "model": model,
            }
            outputs.append(self._event(STATES, change.customer_id, state, trace))
        return outputs

    def states(self, standings: Sequence[Standing]) -> list[Output]:
        """Return the states of customers whose segment is as it was, but not their consent."""
        since = rfc3339([standing.since_us for standing in standings])
        return [
            self._event(
                STATES,
                standing.customer_id,
                {
                    "customer_id": standing.customer_id,
                    "segment": self._refs[standing.segment],
                    "since": since[i],
                    "version": standing.version,
                    "confidence": standing.confidence,
                    "consent": {"marketing": _MARKETING[standing.marketing]},
                    "model": {"generation": self.generation, "version": self.version},
                },
            )
            for i, standing in enumerate(standings)
        ]

    def tombstone(self, customer_id: str) -> Output:
        """Return the null state of a customer of whom nothing is left."""
        return self._event(STATES, customer_id, None)

    def definitions(self, definitions: Sequence[Mapping[str, Any]]) -> list[Output]:
        """Return segment definitions; their fields are those of the contract."""
        return [
            self._event(
                DEFINITIONS,
                definition["id"],
                {**definition, "version": self.version},
            )
            for definition in definitions
        ]

    def dead_letter(self, record: ConsumerRecord, rejection: Rejection) -> Output:
        """Return a refused record with its bytes, and headers that say where it was and why."""
        key, value, original = dead_letters.fitting(record.key, record.value, record.headers)
        headers = dead_letters.headers(
            original,
            topic=record.topic,
            partition=record.partition,
            offset=record.offset,
            timestamp_ms=record.timestamp,
            reason=rejection.reason,
            message=rejection.message,
        )
        # kafka-python sends no null header; an empty one is the nearest it can.
        plain = [(name, each or b"") for name, each in headers]
        # Nor a record without key and value; the reason null_value tells it from an empty one.
        value = b"" if key is None and value is None else value
        provenance = cloudevents.provenance(self.nonce, self.version)
        return Output(DEAD_LETTERS, key, value, plain + provenance)

    def _event(
        self,
        topic: str,
        key: str,
        value: Mapping[str, Any] | None,
        more: Sequence[tuple[str, bytes]] = (),
    ) -> Output:
        headers = cloudevents.headers(
            topic=topic,
            partition=self.partition,
            version=self.version,
            customer_id=key,
            event_type=_TYPES[topic],
            time_us=self.decided_at_us,
            nonce=self.nonce,
            group=self.group_id,
        )
        body = None if value is None else encode(value)
        return Output(topic, key.encode(), body, [*headers, *more])
