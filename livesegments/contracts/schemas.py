"""Every message on the wire as JSON Schema: its value, its headers and its key.

The values come from the models that validate them. Written to ``docs/schemas`` and, as one AsyncAPI
document, to ``docs/asyncapi.yaml`` by `livesegments.contracts.asyncapi`.
"""

from dataclasses import dataclass
from typing import Any

from pydantic import TypeAdapter

from livesegments.contracts import cloudevents, dead_letter_replays, dead_letters, events, segments
from livesegments.contracts.topics import (
    CHANGES,
    DEAD_LETTERS,
    DEFINITIONS,
    ERASURES,
    INPUTS,
    PROFILES,
    PURCHASES,
    REPLAYS,
    STATES,
)

Schema = dict[str, Any]

_INSTANT = {"type": "string", "format": "date-time"}
_WHOLE_NUMBER = {"type": "string", "pattern": "^[0-9]+$"}
_TRACEPARENT = {
    "type": "string",
    "pattern": "^[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$",
    "description": "W3C trace context of the record that brought it about",
}


_SOURCE = {
    "type": "string",
    "description": "The source of `livesegments ingest` that the record is of. Without it the"
    " record is of an input, and the headers name the commit",
}


@dataclass(frozen=True, slots=True)
class Message:
    """One kind of record.

    Attributes
    ----------
    name
        In the AsyncAPI document, and of its schema's file.
    topic, title, summary
        Its place and kind, for people.
    model
        What validates its value; None for a null value or one that may be anything.
    event_type
        Its ``ce_type``, if it is a CloudEvent.
    """

    name: str
    topic: str
    title: str
    summary: str
    model: TypeAdapter[Any] | None = None
    event_type: str | None = None

    @property
    def is_null(self) -> bool:
        """True if its value is null: a deletion."""
        return self.model is None and self.topic != DEAD_LETTERS


MESSAGES = (
    Message("purchase", PURCHASES, "Purchase", "A purchase or a refund", events.PURCHASE),
    Message(
        "customer-profile",
        PROFILES,
        "Customer profile",
        "All that is known of a customer; the last one in the log counts",
        events.CUSTOMER_PROFILE,
    ),
    Message(
        "customer-profile-deleted", PROFILES, "Profile deleted", "Nothing is known of them any more"
    ),
    Message(
        "customer-erasure",
        ERASURES,
        "Erasure request",
        "Forget a customer, ignore them from now on, or end that",
        events.ERASURE,
    ),
    Message(
        "segment-change",
        CHANGES,
        "Segment change",
        "One customer moved: before, after and why",
        TypeAdapter(segments.SegmentChange),
        cloudevents.SEGMENT_CHANGE,
    ),
    Message(
        "customer-segment",
        STATES,
        "Customer segment",
        "Where a customer is now",
        TypeAdapter(segments.SegmentState),
        cloudevents.SEGMENT_STATE,
    ),
    Message(
        "customer-segment-erased",
        STATES,
        "Customer erased",
        "A null value: forget all that you hold of the customer in the key",
        event_type=cloudevents.SEGMENT_STATE,
    ),
    Message(
        "segment-definition",
        DEFINITIONS,
        "Segment definition",
        "What a segment means today",
        TypeAdapter(segments.SegmentDefinition),
        cloudevents.SEGMENT_DEFINITION,
    ),
    Message(
        "dead-letter",
        DEAD_LETTERS,
        "Dead letter",
        "A record of an input topic that can never be processed, byte for byte",
    ),
    Message(
        "dead-letter-replay",
        REPLAYS,
        "Replay of a dead letter",
        "A dead letter was sent again to the topic that it came from",
        TypeAdapter(dead_letter_replays.DeadLetterReplay),
    ),
)


def payloads(ref_template: str = "#/$defs/{model}") -> tuple[dict[str, Schema], dict[str, Schema]]:
    """Return the schema of each message's value by its name, and the definitions they refer to.

    Parameters
    ----------
    ref_template
        How one refers to a definition.
    """
    of_models, shared = TypeAdapter.json_schemas(
        [(message.name, "validation", message.model) for message in MESSAGES if message.model],
        ref_template=ref_template,
    )
    anything: Schema = {
        "type": ["string", "null"],
        "format": "binary",
        "description": "The bytes as they were. Empty where the record had neither key nor value.",
    }
    schemas = {
        message.name: of_models[message.name, "validation"]
        if message.model
        else ({"type": "null"} if message.is_null else anything)
        for message in MESSAGES
    }
    return schemas, {name: _plain(schema) for name, schema in shared["$defs"].items()}


def headers(message: Message) -> Schema | None:
    """Return the schema of a message's headers, each as UTF-8 text; None without any."""
    if message.topic == REPLAYS:
        return None
    if message.topic in INPUTS:
        properties: Schema = {"traceparent": _TRACEPARENT}
        if message.topic != ERASURES:
            properties[events.ORIGIN_HEADER] = {
                "type": "string",
                "description": f"`{events.BACKFILL.decode()}` for history: changes then say so",
            }
        required: list[str] = []
    elif message.topic == DEAD_LETTERS:
        properties = _dead_letter_headers()
        required = list(properties)
        properties |= {dead_letters.SOURCE: _SOURCE, **_provenance()}
    else:
        properties = {**_cloudevents_headers(message), **_provenance()}
        required = list(properties)
        properties["traceparent"] = _TRACEPARENT
    schema: Schema = {"type": "object", "properties": properties}
    return {**schema, "required": required} if required else schema


def key(message: Message) -> Schema:
    """Return the schema of a message's key, UTF-8 text."""
    if message.topic == DEAD_LETTERS:
        return {"type": ["string", "null"], "format": "binary", "description": "As it was"}
    if message.topic == DEFINITIONS:
        return {"type": "string", "description": "The segment's id"}
    if message.topic == REPLAYS:
        place = "Partition and offset of the dead letter"
        return {"type": "string", "pattern": "^[0-9]+/[0-9]+$", "description": place}
    return {**events.CUSTOMER_ID.json_schema(), "description": "The customer's id"}


def standalone(message: Message) -> Schema:
    """Return the schema of a message's value with all that it refers to (JSON Schema 2020-12)."""
    assert message.model is not None
    schema = message.model.json_schema()
    about = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": f"urn:livesegments:{message.topic}:{message.name}",
    }
    shared = {name: _plain(each) for name, each in schema.pop("$defs", {}).items()}
    return {**about, **_plain(schema), **({"$defs": shared} if shared else {})}


def _cloudevents_headers(message: Message) -> Schema:
    return {
        "ce_specversion": {"type": "string", "const": "1.0"},
        "ce_id": {
            "type": "string",
            "format": "uuid",
            "description": "The same whenever the same event is published again",
        },
        "ce_type": {"type": "string", "const": message.event_type},
        "ce_source": {
            "type": "string",
            "pattern": "^/livesegments/.+$",
            "description": "/livesegments/ and the consumer group of the deployment",
        },
        "ce_time": {**_INSTANT, "description": "When it was decided"},
        "content-type": {"type": "string", "const": "application/json"},
    }


def _provenance() -> Schema:
    return {
        cloudevents.NONCE: {
            "type": "string",
            "pattern": "^[0-9a-f]{16}$",
            "description": "Which owner of the partition published it",
        },
        cloudevents.VERSION: {
            **_WHOLE_NUMBER,
            "description": "Of the commit that published it; rises in each partition",
        },
    }


def _dead_letter_headers() -> Schema:
    return {
        dead_letters.TOPIC: {"type": "string", "description": "An input, or a source's topic"},
        dead_letters.PARTITION: _WHOLE_NUMBER,
        dead_letters.OFFSET: _WHOLE_NUMBER,
        dead_letters.TIMESTAMP: {
            "type": "string",
            "pattern": "^-?[0-9]+$",
            "description": "The record's own, milliseconds since the epoch; -1 for none",
        },
        dead_letters.REASON: {
            "anyOf": [
                {"type": "string", "enum": [reason.value for reason in dead_letters.Reason]},
                {"type": "string"},
            ],
            "description": "More may come",
        },
        dead_letters.MESSAGE: {
            "type": "string",
            "description": "Names fields and limits, never values",
        },
    }


def _plain(schema: Any) -> Any:
    """Leave out the titles that pydantic makes of field names: they say nothing more."""
    if isinstance(schema, list):
        return [_plain(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    return {
        name: {field: _plain(each) for field, each in value.items()}
        if name == "properties"
        else _plain(value)
        for name, value in schema.items()
        if name != "title" or schema.get("type") == "object"
    }
