"""Headers of what goes out: CloudEvents 1.0 in Kafka's binary mode, and the commit behind it."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from hashlib import sha1
from uuid import UUID

NAMESPACE = UUID("7f0d3f3e-5b7c-5d0a-9a55-1c7a5e6f6c11")
"""Of every `ce_id`; it never changes, or an event published again would look like another."""

SEGMENT_CHANGE = "io.livesegments.segment-change.v1"
SEGMENT_STATE = "io.livesegments.segment-state.v1"
SEGMENT_DEFINITION = "io.livesegments.segment-definition.v1"

NONCE = "livesegments-nonce"
VERSION = "livesegments-version"

_SPEC_VERSION = ("ce_specversion", b"1.0")
_CONTENT_TYPE = ("content-type", b"application/json")
_NAMESPACE_BYTES = NAMESPACE.bytes
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def headers(
    *,
    topic: str,
    partition: int,
    version: int,
    customer_id: str,
    event_type: str,
    time_us: int,
    nonce: str,
    group: str = "livesegments",
) -> list[tuple[str, bytes]]:
    """Headers of one published event.

    `ce_id` is the same whenever the same change is published again, since it comes from where and
    in which version the change was made. There is no `ce_subject`: the key carries the customer,
    and headers end up in logs.

    Parameters
    ----------
    topic, partition
        Where the event is published.
    version
        Progress version of the commit that decided it.
    customer_id
        Key of the record; the segment id for a definition.
    event_type
        One of the event types above.
    time_us
        When it was decided, microseconds since the epoch.
    nonce
        Owner of the partition at that commit, 16 hexadecimal digits.
    group
        Consumer group of the deployment, which names the source.
    """
    return [
        _SPEC_VERSION,
        ("ce_id", event_id(topic, partition, version, customer_id).encode()),
        _constant("ce_type", event_type),
        _constant("ce_source", f"/livesegments/{group}"),
        ("ce_time", _rfc3339(time_us)),
        _CONTENT_TYPE,
        *provenance(nonce, version),
    ]


def event_id(topic: str, partition: int, version: int, customer_id: str) -> str:
    """UUIDv5 (RFC 9562, 5.5) of ``topic/partition/version/customer_id``; `uuid.uuid5` is slower."""
    name = f"{topic}/{partition}/{version}/{customer_id}".encode()
    digest = sha1(_NAMESPACE_BYTES + name, usedforsecurity=False).hexdigest()
    variant = "89ab"[int(digest[16], 16) & 3]
    return f"{digest[:8]}-{digest[8:12]}-5{digest[13:16]}-{variant}{digest[17:20]}-{digest[20:32]}"


def provenance(nonce: str, version: int) -> list[tuple[str, bytes]]:
    """Give the headers that every output record carries, dead letters too: owner and version."""
    return [_constant(NONCE, nonce), (VERSION, b"%d" % version)]


def read_provenance(record_headers: Sequence[tuple[str, bytes | None]]) -> tuple[str, int] | None:
    """Nonce and version of an output record, None when it has none.

    The last of each counts: a dead letter has the headers of its record before ours.
    """
    latest = dict(record_headers)
    nonce, version = latest.get(NONCE), latest.get(VERSION)
    if nonce is None or version is None or not version.isdigit():
        return None
    return nonce.decode(errors="replace"), int(version)


@lru_cache(maxsize=256)
def _constant(name: str, value: str) -> tuple[str, bytes]:
    return name, value.encode()


def _rfc3339(time_us: int) -> bytes:
    second, microsecond = divmod(time_us, 1_000_000)
    return b"%b.%06dZ" % (_second(second), microsecond)


@lru_cache(maxsize=1024)  # live events share few seconds
def _second(second: int) -> bytes:
    return (_EPOCH + timedelta(seconds=second)).isoformat().removesuffix("+00:00").encode()
