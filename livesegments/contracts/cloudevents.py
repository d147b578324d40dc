"""Headers of what goes out: CloudEvents 1.0 in Kafka's binary mode, and the commit behind it."""

from collections.abc import Sequence
from hashlib import sha1
from uuid import UUID

import numpy as np

NAMESPACE = UUID("7f0d3f3e-5b7c-5d0a-9a55-1c7a5e6f6c11")
"""Of every `ce_id`; it never changes, or an event published again would look like another."""

SEGMENT_CHANGE = "io.livesegments.segment-change.v1"
SEGMENT_STATE = "io.livesegments.segment-state.v1"
SEGMENT_DEFINITION = "io.livesegments.segment-definition.v1"

SOURCE = "ce_source"
NONCE = "livesegments-nonce"
VERSION = "livesegments-version"
_MOST_DIGITS = 18
"""Of a version: a longer number may not fit in 64 bits."""

_DIGITS = [at for at in range(36) if at not in (8, 13, 18, 23)]
"""Where a UUID has no hyphen."""


def shared_headers(
    *, event_type: str, time: str, nonce: str, version: int, group: str
) -> list[tuple[str, bytes]]:
    """Headers that all events of a type and commit have.

    Parameters
    ----------
    event_type
        One of the event types above.
    time
        When it was decided, in RFC 3339.
    nonce, version
        Owner of the partition at that commit, 16 hexadecimal digits, and the commit's version.
    group
        Consumer group of the deployment, which names the source.
    """
    return [
        ("ce_specversion", b"1.0"),
        ("ce_type", event_type.encode()),
        (SOURCE, source_of(group)),
        ("ce_time", time.encode()),
        ("content-type", b"application/json"),
        *provenance(nonce, version),
    ]


def source_of(group: str) -> bytes:
    """Return the source of what a deployment publishes, named after its consumer group."""
    return f"/livesegments/{group}".encode()


def event_ids(topic: str, partition: int, version: int, keys: Sequence[bytes]) -> list[bytes]:
    """Return the `ce_id` of n events, by their keys, customer ids in UTF-8.

    It is a UUIDv5 (RFC 9562, 5.5) of ``topic/partition/version/customer_id``, where and in which
    commit the event was made: the same whenever the same change is published again. `uuid.uuid5`
    is slower. There is no `ce_subject`: the key carries the customer, and headers end up in logs.
    """
    place = f"{topic}/{partition}/{version}/".encode()
    shared = sha1(NAMESPACE.bytes + place, usedforsecurity=False)
    digests = []
    for key in keys:
        own = shared.copy()
        own.update(key)
        digests.append(own.digest())
    octets = np.frombuffer(b"".join(digests), np.uint8).reshape(-1, shared.digest_size)[:, :16]
    octets = octets.copy()
    octets[:, 6] = octets[:, 6] & 0x0F | 0x50
    octets[:, 8] = octets[:, 8] & 0x3F | 0x80
    digits = np.frombuffer(octets.tobytes().hex().encode(), np.uint8)
    texts = np.full((len(keys), 36), ord("-"), np.uint8)
    texts[:, _DIGITS] = digits.reshape(len(keys), 32)
    return texts.view("S36").ravel().tolist()


def provenance(nonce: str, version: int) -> list[tuple[str, bytes]]:
    """Give the headers that every output record carries, dead letters too: owner and version."""
    return [(NONCE, nonce.encode()), (VERSION, b"%d" % version)]


def read_provenance(record_headers: Sequence[tuple[str, bytes | None]]) -> tuple[str, int] | None:
    """Nonce and version of an output record, None when it has none.

    The last of each counts: a dead letter has the headers of its record before ours. A version of
    more than 18 digits is another producer's.
    """
    latest = dict(record_headers)
    nonce, version = latest.get(NONCE), latest.get(VERSION)
    if nonce is None or version is None or not version.isdigit() or len(version) > _MOST_DIGITS:
        return None
    return nonce.decode(errors="replace"), int(version)
