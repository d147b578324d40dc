"""Serialization of outputs: changes, states, definitions, tombstones and dead letters."""

from collections.abc import Container, Iterable, Mapping, Sequence
from functools import partial
from itertools import repeat
from typing import Any, TypeAlias

import msgspec
from kafka.consumer.fetcher import ConsumerRecord
from msgspec import Raw, Struct

from livesegments.contracts import cloudevents, dead_letters
from livesegments.contracts.dead_letters import Rejection
from livesegments.contracts.segments import encode
from livesegments.contracts.timestamps import rfc3339
from livesegments.contracts.topics import CHANGES, DEAD_LETTERS, DEFINITIONS, STATES
from livesegments.domain import (
    Change,
    FeatureReason,
    OtherParts,
    ProcessingConfig,
    SegmentStatus,
    Trigger,
)
from livesegments.store.checkpoint import Checkpoint
from livesegments.store.outbox import Output

Headers: TypeAlias = Sequence[tuple[str, bytes]]

_encode = msgspec.json.Encoder().encode
_output = partial(tuple.__new__, Output)

_CONSENT = {
    marketing: Raw(_encode({"marketing": said}))
    for marketing, said in ((-1, None), (0, False), (1, True))
}
_NULL = Raw(b"null")
_TYPES = {
    CHANGES: cloudevents.SEGMENT_CHANGE,
    STATES: cloudevents.SEGMENT_STATE,
    DEFINITIONS: cloudevents.SEGMENT_DEFINITION,
}


# Nearly all outputs are one of these two. They take a tenth of the time of the contract's models;
# a test compares them. What all outputs of a commit share is encoded once, as `Raw`.
class _Change(Struct, frozen=True, gc=False):
    customer_id: str
    change: str
    previous_segment: Raw
    segment: Raw
    occurred_at: str
    decided_at: str
    version: int
    origin: str
    cause: "_Cause | None"
    confidence: float | None
    distance: float | None
    runner_up: Raw
    explanation: Sequence[FeatureReason]
    other_contributions: OtherParts | None
    model: Raw
    consent: Raw


class _Cause(Struct, frozen=True, gc=False):
    event_id: str | None
    topic: str
    partition: int
    offset: int


class _State(Struct, frozen=True, gc=False):
    customer_id: str
    segment: Raw
    since: str
    version: int
    confidence: float | None
    consent: Raw
    model: Raw


class Serializer:
    """Serializer of one commit's outputs, which carry its version and its owner's nonce."""

    def __init__(
        self, config: ProcessingConfig, partition: int, checkpoint: Checkpoint, decided_at_us: int
    ) -> None:
        self.partition, self.version, self.nonce = partition, checkpoint.version, checkpoint.nonce
        self.decided_at = rfc3339([decided_at_us])[0]
        named = ({"id": segment_id, "name": name} for segment_id, name in config.segments)
        self._segments = [*map(Raw, map(_encode, named)), _NULL]  # the last one is index -1
        model = {"generation": checkpoint.generation, "version": checkpoint.version}
        self._model = Raw(_encode(model))
        self._headers = {
            topic: tuple(
                cloudevents.shared_headers(
                    event_type=event_type,
                    time=self.decided_at,
                    nonce=checkpoint.nonce,
                    version=checkpoint.version,
                    group=config.group_id,
                )
            )
            for topic, event_type in _TYPES.items()
        }

    def changes(
        self,
        changes: Sequence[tuple[Change, Trigger | None]],
        forgotten: Container[str] = (),
    ) -> list[Output]:
        """Return the change and the new state of each changed customer, from it and its trigger.

        Customers in ``forgotten`` get no state but a `tombstone` with the same ``ce_id``.
        """
        occurred = rfc3339([change.time_us for change, _ in changes])
        since = rfc3339([change.since_us for change, _ in changes])
        segments, model = self._segments, self._model
        values = [
            _encode(
                _Change(
                    change.customer_id,
                    change.kind,
                    segments[change.previous],
                    segments[change.segment],
                    at,
                    self.decided_at,
                    self.version,
                    change.origin,
                    _Cause(cause.event_id, cause.topic, cause.partition, cause.offset)
                    if cause
                    else None,
                    change.confidence,
                    change.distance,
                    segments[change.runner_up],
                    change.explanation,
                    change.others,
                    model,
                    _CONSENT[change.marketing],
                )
            )
            for (change, cause), at in zip(changes, occurred, strict=True)
        ]
        states = [
            self._state(
                change.customer_id,
                change.segment,
                at,
                self.version,
                change.confidence,
                change.marketing,
            )
            for (change, _), at in zip(changes, since, strict=True)
        ]
        names = [change.customer_id for change, _ in changes]
        traces = [
            [("traceparent", cause.traceparent)] if cause and cause.traceparent else ()
            for _, cause in changes
        ]
        made = self._outputs(STATES, names, states, traces)
        return [
            *self._outputs(CHANGES, names, values, traces),
            *(state for name, state in zip(names, made, strict=True) if name not in forgotten),
        ]

    def states(self, standings: Sequence[SegmentStatus]) -> list[Output]:
        """Return the states of customers whose consent changed but not their segment."""
        since = rfc3339([standing.since_us for standing in standings])
        values = [
            self._state(
                each.customer_id, each.segment, at, each.version, each.confidence, each.marketing
            )
            for each, at in zip(standings, since, strict=True)
        ]
        return self._outputs(STATES, [standing.customer_id for standing in standings], values)

    def _state(
        self,
        customer_id: str,
        segment: int,
        since: str,
        version: int,
        confidence: float | None,
        marketing: int,
    ) -> bytes:
        named, consent = self._segments[segment], _CONSENT[marketing]
        state = _State(customer_id, named, since, version, confidence, consent, self._model)
        return _encode(state)

    def tombstones(self, customer_ids: Sequence[str]) -> list[Output]:
        """Return the tombstones of customers without any remaining data."""
        return self._outputs(STATES, customer_ids, [None] * len(customer_ids))

    def definitions(self, definitions: Sequence[Mapping[str, Any]]) -> list[Output]:
        """Return segment definitions; their fields are those of the contract."""
        return self._outputs(
            DEFINITIONS,
            [definition["id"] for definition in definitions],
            [encode({**definition, "version": self.version}) for definition in definitions],
        )

    def dead_letter(self, record: ConsumerRecord, rejection: Rejection) -> Output:
        """Return a rejected record unchanged, with headers for its origin and the reason."""
        return dead_letter(record, rejection, cloudevents.provenance(self.nonce, self.version))

    def _outputs(
        self,
        topic: str,
        names: Sequence[str],
        values: Sequence[bytes | None],
        more: Iterable[Headers] = repeat(()),
    ) -> list[Output]:
        if not names:
            return []
        keys, shared = [name.encode() for name in names], self._headers[topic]
        identifiers = cloudevents.event_ids(topic, self.partition, self.version, keys)
        own = [
            [("ce_id", identifier), *each]
            for identifier, each in zip(identifiers, more, strict=False)
        ]
        rows = zip(repeat(topic), keys, values, own, repeat(shared), strict=False)
        return list(map(_output, rows))


def dead_letter(
    record: ConsumerRecord, rejection: Rejection, more: Sequence[tuple[str, bytes]]
) -> Output:
    """Return a rejected record unchanged, with headers for its origin and the reason, and more."""
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
    # kafka-python sends no null header; an empty one is the closest.
    plain = [(name, each or b"") for name, each in headers]
    # Nor does it send a record without key and value; the reason null_value marks this case.
    value = b"" if key is None and value is None else value
    return Output(DEAD_LETTERS, key, value, [*plain, *more])
