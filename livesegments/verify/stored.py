"""A partition as the store has it, read by the documented formats."""

import hashlib
import struct
import time
from collections.abc import Iterator
from dataclasses import dataclass

from store.servers import Client, server_of

_HEAD = struct.Struct("<BBbbiqedqqq5i")
_LOCATIONS = {0: None, 1: "rural", 2: "suburban", 3: "urban"}
_MARKER = struct.Struct("<qqq")


@dataclass(frozen=True, slots=True)
class StoredCustomer:
    """One record; ``tiles`` maps each tile of the ring to (purchases, cents).

    ``head`` is the newest tile of a purchase, ``profiled`` whether a profile says anything.
    """

    cluster: int
    segment: int
    generation: int
    since_us: int
    version: int
    age: float | None
    income: float | None
    location: str | None
    marketing: int
    vector: tuple[int, ...]
    head: int
    profile_us: int
    profiled: bool
    tiles: dict[int, tuple[int, int]]


@dataclass(frozen=True, slots=True)
class StoredPartition:
    """One partition at one version.

    Purchases below offset ``replayed`` were decided on before the store was made anew, under the
    currency of then.
    """

    version: int
    offsets: dict[str, int]
    replayed: int
    clock_us: int
    recovering: bool
    rescore: bool
    generation: int
    swept_generation: int
    swept_tile: int
    customers: dict[str, StoredCustomer]
    statistics: dict[int, bytes]
    outbox: list[int]
    markers: dict[bytes, tuple[int, int, int]]


def read_customer(data: bytes, tiles: int) -> StoredCustomer:
    """Read a record's bytes: a head, then the counts of all slots, then their cents."""
    fmt, flags, cluster, segment, head, updated, age, income, *rest = _HEAD.unpack_from(data)
    generation, since, version, *vector = rest
    slot = {1: (f"<{tiles}B", f"<{tiles}i"), 2: (f"<{tiles}q", f"<{tiles}q")}[fmt]
    counts = struct.unpack_from(slot[0], data, _HEAD.size)
    cents = struct.unpack_from(slot[1], data, _HEAD.size + struct.calcsize(slot[0]))
    return StoredCustomer(
        cluster=cluster,
        segment=segment,
        generation=generation,
        since_us=since,
        version=version,
        age=None if age != age else age,
        income=None if income != income else income,
        location=_LOCATIONS[flags & 3],
        marketing=(flags >> 2 & 3) - 1,
        vector=tuple(vector),
        head=head,
        profile_us=updated,
        profiled=age == age or income == income or bool(flags & 0b111111),
        tiles={
            tile: (counts[tile % tiles], cents[tile % tiles])
            for tile in range(head - tiles + 1, head + 1)
        },
    )


def read_partition(
    client: Client, group_id: str, partition: int, tiles: int, tries: int = 20
) -> StoredPartition:
    """Read a partition between two commits: again, when one came in between.

    Raises
    ------
    TimeoutError
        If commits never pause for long enough.
    """
    prefix = f"{group_id}:{{{partition}}}:"
    for _ in range(tries):
        before = client.hget(prefix + "progress", "version")
        customers = {
            name.decode(): read_customer(data, tiles)
            for name, data in client.hscan_iter(prefix + "customers", count=2_000)
        }
        with server_of(client, prefix).pipeline(transaction=True) as pipeline:
            for name in ("progress", "statistics", "outbox", "erasures"):
                pipeline.hgetall(prefix + name)
            progress, statistics, outbox, markers = pipeline.execute()
        if progress.get(b"version") == before:
            break
        time.sleep(0.5)
    else:
        raise TimeoutError(
            f"partition {partition} is committed to all the time; verify when it is quiet"
        )
    number = {name.decode(): int(v) for name, v in progress.items() if name not in _TEXT}
    return StoredPartition(
        version=number.get("version", 0),
        offsets={name: number.get(name, 0) for name in ("purchases", "profiles", "erasures")},
        replayed=number.get("replayed", 0),
        clock_us=number.get("clock_us", 0),
        recovering=bool(number.get("recovering", 0)),
        rescore=bool(number.get("rescore", 0)),
        generation=number.get("generation", 0),
        swept_generation=number.get("swept_generation", 0),
        swept_tile=number.get("swept_tile", 0),
        customers=customers,
        statistics={int(g): data for g, data in statistics.items() if g != b"swept"},
        outbox=sorted(int(version) for version in outbox),
        markers={key: _MARKER.unpack(data) for key, data in markers.items()},
    )


_TEXT = (b"nonce", b"seen", b"topics")


def marker_of(customer_id: str, group_id: str) -> bytes:
    """Return the key under which an erasure of a customer is remembered."""
    key = group_id.encode()[: hashlib.blake2b.MAX_KEY_SIZE]
    return hashlib.blake2b(customer_id.encode(), digest_size=16, key=key).digest()


def counts(data: bytes) -> Iterator[int]:
    """Return the 64-bit integers of stored statistics."""
    return iter(struct.unpack(f"<{len(data) // 8}q", data))
