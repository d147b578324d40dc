"""Serialization of outputs: changes, states, definitions, tombstones and dead letters."""

from collections.abc import Container, Iterable, Mapping, Sequence
from functools import cache, partial
from itertools import repeat
from typing import Any, TypeAlias

from kafka.consumer.fetcher import ConsumerRecord

from livesegments.contracts import cloudevents, dead_letters
from livesegments.contracts.dead_letters import Rejection
from livesegments.contracts.segments import encode
from livesegments.contracts.timestamps import rfc3339
from livesegments.contracts.topics import CHANGES, DEAD_LETTERS, DEFINITIONS, STATES
from livesegments.domain import Change, FeatureReason, SegmentStatus, Trigger
from livesegments.store.outbox import Output

Headers: TypeAlias = Sequence[tuple[str, bytes]]

_CONSENT = {
    marketing: encode({"marketing": said})
    for marketing, said in ((-1, None), (0, False), (1, True))
}
_NULL = b"null"

_output = partial(tuple.__new__, Output)

# Nearly all outputs are one of these two. Filling in a template costs less than encoding plain
# data; a test compares them with the contract's models.
_CHANGE = (
    b'{"customer_id":%b,"change":"%b","previous_segment":%b,"segment":%b,"occurred_at":"%b",'
    b'"decided_at":"%b","version":%d,"origin":"%b","cause":%b,"confidence":%b,"distance":%b,'
    b'"runner_up":%b,"explanation":[%b],"other_contributions":%b,"model":%b,"consent":%b}'
)
_STATE = (
    b'{"customer_id":%b,"segment":%b,"since":"%b","version":%d,"confidence":%b,"consent":%b,'
    b'"model":%b}'
)
_REASON = b'%b"z_score":%a,"previous_z_score":%b,"contribution":%a}'
_OTHERS = b'{"model":%b,"profile":%a}'
_CAUSE = b'{"event_id":%b,"topic":"%b","partition":%d,"offset":%d}'
_TYPES = {
    CHANGES: cloudevents.SEGMENT_CHANGE,
    STATES: cloudevents.SEGMENT_STATE,
    DEFINITIONS: cloudevents.SEGMENT_DEFINITION,
}


class Serializer:
    """Serializer of one commit's outputs, which carry its version and its owner's nonce."""

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
        self._segments = [encode({"id": segment_id, "name": name}) for segment_id, name in segments]
        self._segments.append(_NULL)  # index -1
        self._model = encode({"generation": generation, "version": version})
        self._headers = {
            topic: tuple(
                cloudevents.shared_headers(
                    event_type=event_type,
                    time_us=decided_at_us,
                    nonce=nonce,
                    version=version,
                    group=group_id,
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
        decided = self.decided_at.encode()
        values, states = [], []
        for i, (change, cause) in enumerate(changes):
            customer_id, confidence = encode(change.customer_id), _number(change.confidence)
            segment, consent = self._segments[change.segment], _CONSENT[change.marketing]
            values.append(
                _CHANGE
                % (
                    customer_id,
                    change.kind.encode(),
                    self._segments[change.previous],
                    segment,
                    occurred[i].encode(),
                    decided,
                    self.version,
                    change.origin.encode(),
                    _cause(cause),
                    confidence,
                    _number(change.distance),
                    self._segments[change.runner_up],
                    _explanation(change.explanation),
                    _others(change),
                    self._model,
                    consent,
                )
            )
            states.append(
                _STATE
                % (
                    customer_id,
                    segment,
                    since[i].encode(),
                    self.version,
                    confidence,
                    consent,
                    self._model,
                )
            )
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
            _STATE
            % (
                encode(standing.customer_id),
                self._segments[standing.segment],
                since[i].encode(),
                standing.version,
                _number(standing.confidence),
                _CONSENT[standing.marketing],
                self._model,
            )
            for i, standing in enumerate(standings)
        ]
        return self._outputs(STATES, [standing.customer_id for standing in standings], values)

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


def _number(number: float | None) -> bytes:
    return _NULL if number is None else b"%a" % number  # assigned customers have finite numbers


def _cause(cause: Trigger | None) -> bytes:
    if cause is None:
        return _NULL
    event_id = _NULL if cause.event_id is None else encode(cause.event_id)
    return _CAUSE % (event_id, cause.topic.encode(), cause.partition, cause.offset)


def _explanation(reasons: Sequence[FeatureReason]) -> bytes:
    return b",".join(
        [
            _REASON % (_feature(feature, z >= 0), z, _number(previous), part)
            for feature, z, previous, part in reasons
        ]
    )


def _others(change: Change) -> bytes:
    if change.segment < 0:
        return _NULL
    return _OTHERS % (_number(change.model_part), change.profile_part)


@cache
def _feature(feature: str, is_above: bool) -> bytes:
    direction = "above" if is_above else "below"
    return f'{{"feature":"{feature}","direction":"{direction}",'.encode()
