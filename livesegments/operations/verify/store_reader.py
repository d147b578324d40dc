"""Reader of a partition's stored state, following the documented formats."""

import hashlib
import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias

from livesegments.contracts.topics import ERASURES, PROFILES, PURCHASES
from livesegments.store.cluster_pipeline import Client, server_of

_HEAD = struct.Struct("<BBbbiqedqqq")
_LOCATIONS = {0: None, 1: "rural", 2: "suburban", 3: "urban"}
MARKER = struct.Struct("<qqq")
_NEVER = -(2**63)
Marker: TypeAlias = tuple[int, int, int]
"""First microsecond that counts, and the latest requests to suppress and to restore."""
_OFFSETS = {PURCHASES: "purchases", PROFILES: "profiles", ERASURES: "erasures"}
_REPLAYED = {PURCHASES: "replayed", PROFILES: "replayed_profiles", ERASURES: "replayed_erasures"}
_TEXT = (b"nonce", b"seen", b"topics")
CHUNK = 2_000
"""Customers read at once; Redis serves no other client meanwhile."""


class Shape(NamedTuple):
    """Numbers of tiles and features in a record, and of segments in the statistics."""

    tiles: int
    features: int
    segments: int

    @classmethod
    def of(cls, deployment: Mapping[bytes, bytes]) -> "Shape":
        """Return the shape in the stored fields of a deployment."""
        segments = deployment[b"segments"].split(b",")
        return cls(int(deployment[b"tiles"]), len(features_of(deployment)), len(segments))


def features_of(deployment: Mapping[bytes, bytes]) -> list[str]:
    """Return the features of the vector; stores had these five before they could be chosen."""
    first = b"purchases,spend,age,income,urbanicity"
    return deployment.get(b"features", first).decode().split(",")


@dataclass(frozen=True, slots=True)
class StoredCustomer:
    """One record; ``tiles`` maps each tile of the ring to (purchases, cents).

    ``head`` is the newest tile with a purchase, ``profiled`` whether any profile field is known,
    and ``profile_us`` the time of the profile, None if an erasure covers it. ``place`` and
    ``gaps`` are the vector at the last change and the distances to the segments then.
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
    profiling: int
    vector: tuple[int, ...]
    place: tuple[int, ...]
    gaps: tuple[float, ...]
    head: int
    profile_us: int | None
    profiled: bool
    tiles: dict[int, tuple[int, int]]


@dataclass(frozen=True, slots=True)
class Cut:
    """A partition's checkpoint at one version.

    Records of a topic below offset ``replayed`` were validated before the store was rebuilt, under
    the settings of that time; ``remembered`` is the number of ids written to the dedup ring.
    ``rescore`` tells whether a sweep over all customers is due: 1 after a recovery, 2 after an
    erasure.
    """

    version: int
    nonce: str
    offsets: dict[str, int]
    replayed: dict[str, int]
    remembered: int
    clock_us: int
    recovering: bool
    rescore: int
    generation: int
    swept_generation: int
    swept_tile: int

    @classmethod
    def of(cls, progress: Mapping[bytes, bytes]) -> "Cut":
        """Return the cut of a stored checkpoint."""
        number = {name.decode(): int(v) for name, v in progress.items() if name not in _TEXT}
        return cls(
            version=number.get("version", 0),
            nonce=progress.get(b"nonce", b"").decode(),
            offsets={topic: number.get(name, 0) for topic, name in _OFFSETS.items()},
            replayed={topic: number.get(name, 0) for topic, name in _REPLAYED.items()},
            remembered=number.get("remembered", 0),
            clock_us=number.get("clock_us", 0),
            recovering=bool(number.get("recovering", 0)),
            rescore=number.get("rescore", 0),
            generation=number.get("generation", 0),
            swept_generation=number.get("swept_generation", 0),
            swept_tile=number.get("swept_tile", 0),
        )

    def is_swept(self, tile_us: int) -> bool:
        """Return whether no sweep is running or due: every record is scored as of this cut."""
        as_of = (self.clock_us // tile_us, self.generation)
        return not self.rescore and (self.swept_tile, self.swept_generation) == as_of


class Look(NamedTuple):
    """Some records of a partition with its statistics and outbox, at one version.

    ``outbox`` holds the versions only; ``records`` has None for a customer without a record.
    """

    cut: Cut
    records: dict[str, bytes | None]
    statistics: dict[int, bytes]
    outbox: list[int]


class Store:
    """Keys of one partition; each read is atomic and includes the checkpoint of its version."""

    def __init__(self, client: Client, group_id: str, partition: int) -> None:
        self._client, self._group_id = client, group_id
        self._prefix = f"{group_id}:{{{partition}}}:"

    def _transaction(self, *commands: tuple[Any, ...]) -> tuple[Cut, list[Any]]:
        with server_of(self._client, self._prefix).pipeline(transaction=True) as pipeline:
            pipeline.hgetall(self._prefix + "progress")
            for command, key, *arguments in commands:
                getattr(pipeline, command)(self._prefix + key, *arguments)
            progress, *replies = pipeline.execute()
        return Cut.of(progress), replies

    def time_us(self) -> int:
        """Return the time at the server that holds the partition."""
        seconds, micros = server_of(self._client, self._prefix).time()
        return int(seconds) * 1_000_000 + int(micros)

    def scan(self) -> Iterator[tuple[Cut, dict[str, bytes]]]:
        """Yield all records in chunks; those present throughout are yielded at least once."""
        cursor = 0
        while True:
            cut, [(cursor, found)] = self._transaction(("hscan", "customers", cursor, None, CHUNK))
            yield cut, {name.decode(): data for name, data in found.items()}
            if int(cursor) == 0:
                return

    def look(self, names: Sequence[str] = ()) -> Look:
        """Read the records of some customers, the statistics and the versions in the outbox."""
        wanted = [("hmget", "customers", list(names))] if names else []
        cut, (statistics, outbox, *found) = self._transaction(
            ("hgetall", "statistics"), ("hgetall", "outbox"), *wanted
        )
        return Look(
            cut,
            dict(zip(names, found[0] if found else (), strict=True)),
            {int(g): data for g, data in statistics.items() if g != b"swept"},
            sorted(int(version) for version in outbox),
        )

    def records(self, names: Sequence[str]) -> tuple[Cut, dict[str, bytes | None]]:
        """Read the records of some customers."""
        cut, [found] = self._transaction(("hmget", "customers", list(names)))
        return cut, dict(zip(names, found, strict=True))

    def markers(self, names: Sequence[str]) -> dict[str, tuple[Cut, Marker | None]]:
        """Read the erasure markers of some customers."""
        markers: dict[str, tuple[Cut, Marker | None]] = {}
        for start in range(0, len(names), CHUNK):
            chunk = names[start : start + CHUNK]
            keys = [marker_of(name, self._group_id) for name in chunk]
            cut, [found] = self._transaction(("hmget", "erasures", keys))
            for name, data in zip(chunk, found, strict=True):
                markers[name] = (cut, None if data is None else MARKER.unpack(data))
        return markers

    def ring(self) -> tuple[Cut, bytes]:
        """Read the dedup ring."""
        cut, [ring] = self._transaction(("get", "seen"))
        return cut, ring or b""


def read_customer(data: bytes, shape: Shape) -> StoredCustomer:
    """Decode a record: a header, the vector, then the counts of all slots, then their cents."""
    tiles = shape.tiles
    fmt, flags, cluster, segment, head, updated, age, income, *rest = _HEAD.unpack_from(data)
    generation, since, version = rest
    count, amount = {3: ("B", "i"), 4: ("q", "q")}[fmt]
    arrays, at = [], _HEAD.size
    for kind in (
        f"<{shape.features}i",
        f"<{shape.features}i",
        f"<{shape.segments}e",
        f"<{tiles}{count}",
        f"<{tiles}{amount}",
    ):
        arrays.append(struct.unpack_from(kind, data, at))
        at += struct.calcsize(kind)
    vector, place, gaps, counts, cents = arrays
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
        profiling=(flags >> 4 & 3) - 1,
        vector=vector,
        place=place,
        gaps=gaps,
        head=head,
        profile_us=None if updated == _NEVER else updated,
        profiled=age == age or income == income or bool(flags & 0b111111),
        tiles={
            tile: (counts[tile % tiles], cents[tile % tiles])
            for tile in range(head - tiles + 1, head + 1)
        },
    )


def marker_of(customer_id: str, group_id: str) -> bytes:
    """Return the key under which a customer's erasure marker is stored."""
    key = group_id.encode()[: hashlib.blake2b.MAX_KEY_SIZE]
    return hashlib.blake2b(customer_id.encode(), digest_size=16, key=key).digest()


def counts(data: bytes) -> Iterator[int]:
    """Return the 64-bit integers of stored statistics."""
    return iter(struct.unpack(f"<{len(data) // 8}q", data))
