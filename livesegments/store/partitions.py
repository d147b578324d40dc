"""Read and commit partition state, with one round trip per server for each micro-batch."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.resources import files
from operator import attrgetter
from typing import Any

from redis.exceptions import NoScriptError, RedisError
from redis.sentinel import SentinelConnectionPool

from livesegments.store.checkpoint import Checkpoint
from livesegments.store.cluster_pipeline import Client, CommandBatch, Servers, server_of
from livesegments.store.deployment import Deployment
from livesegments.store.keys import PartitionKeys, deployment_key, partition_keys, trial_key
from livesegments.store.outbox import Entry

_SCRIPT = files("livesegments.store").joinpath("commit.lua").read_text()
SWEPT = b"swept"
_SIZES = [b"sized_" + name.encode() for name in ("version", *PartitionKeys._fields[1:])]
NO_CLOCK = 1 << 62
"""Server time when there is no server clock, as for an in-memory store."""


@dataclass(frozen=True, slots=True)
class PartitionSnapshot:
    """State of a partition in the store; ``checkpoint`` is None if the store has no data for it."""

    checkpoint: Checkpoint | None
    outbox: list[Entry]
    """Oldest version first."""
    statistics: dict[int, bytes]
    erasures: int
    """Number of customers with an erasure marker."""
    is_damaged: bool = False
    """Whether a key was evicted or deleted, or lost fields, since the last commit."""


@dataclass(frozen=True, slots=True)
class ReadRequest:
    """Data that a micro-batch reads from one partition."""

    partition: int
    customers: Sequence[str]
    erasures: Sequence[bytes] = ()
    scan: tuple[int, int] | None = None
    """(cursor, approximate count) of customers to scan."""


@dataclass(frozen=True, slots=True)
class ReadResult:
    """Data read from one partition, in the order of the request."""

    records: list[bytes | None]
    erasures: list[bytes | None]
    cursor: int | None
    """Cursor of the next scan: 0 when the scan is complete, None if none was requested."""
    scanned: dict[str, bytes]
    time_us: int = field(default=NO_CLOCK, compare=False)
    """Clock of the partition's server at the time of the read."""


@dataclass(frozen=True, slots=True)
class Commit:
    """All writes of a micro-batch to one partition."""

    partition: int
    expected: Checkpoint | None
    checkpoint: Checkpoint
    records: Mapping[str, bytes] = field(default_factory=dict)
    gone: Sequence[str] = ()
    statistics: Mapping[int, bytes] = field(default_factory=dict)
    statistics_gone: Sequence[int] = ()
    entry: Entry | None = None
    """Outputs of this version."""
    trimmed: Sequence[int] = ()
    """Versions to drop from the outbox because they are in Kafka."""
    erasures: Mapping[bytes, bytes] = field(default_factory=dict)
    ring: Sequence[tuple[int, bytes]] = ()
    """(byte offset, bytes) to write to the dedup ring."""
    empty_first: bool = False
    """Delete all stored data of the partition first."""


class Partitions:
    """The partitions of one deployment in Redis."""

    def __init__(self, client: Client, group_id: str) -> None:
        self.redis = client
        self.group_id = group_id
        self._servers = Servers(client)
        self._sha = ""
        self._loaded: set[int] = set()

    def keys(self, partition: int) -> PartitionKeys:
        """Return the keys of a partition."""
        return partition_keys(self.group_id, partition)

    def try_commands(self, partitions: int) -> None:
        """Run every command of the commit script once per partition, on a separate test key.

        Redis does not roll a script back: one that is denied half way leaves its earlier writes.
        Missing permissions must therefore be detected before the first commit.

        Raises
        ------
        NoPermissionError
            If the user may not run a command; names it.
        """
        batch = CommandBatch(self._servers)
        for partition in range(partitions):
            key = trial_key(self.group_id, partition)
            batch.on(key).type(key)
            batch.on(key).unlink(key)
            batch.on(key).hset(key, "field", "value")
            batch.on(key).hmget(key, "field")
            batch.on(key).hdel(key, "field")
            batch.on(key).setrange(key, 0, "value")
            batch.on(key).unlink(key)
            batch.on(key).time()
        batch.execute()

    def agree(self, deployment: Deployment) -> None:
        """Compare a deployment's fixed settings with the store's; the first worker writes them.

        Raises
        ------
        StoreMismatchError
            If a setting differs; the message names it and the possible remedies.
        """
        key = deployment_key(self.group_id)
        look = CommandBatch(self._servers)
        look.on(key).hgetall(key)
        [found] = look.execute()
        if found:
            # Before fields that an older release did not have are written.
            deployment.check(found, self.group_id)
        batch = CommandBatch(self._servers, atomic=True)
        for name, value in deployment.to_fields().items():
            batch.on(key).hsetnx(key, name, value)
        batch.on(key).hgetall(key)
        deployment.check(batch.execute()[-1], self.group_id)

    def end_history(self) -> None:
        """Let a store whose windows ended at the latest event go on with the wall clock."""
        self.redis.hset(deployment_key(self.group_id), "clock", "wall")

    def forget(self, deployment: Deployment) -> None:
        """Empty every partition, each atomically, then store a deployment's settings.

        Running owners find their partitions empty and rebuild them from Kafka.
        """
        for partition in range(deployment.partitions):
            self.redis.unlink(*self.keys(partition))
        self.redis.unlink(deployment_key(self.group_id))
        self.agree(deployment)

    def deployment(self) -> Deployment | None:
        """Return the deployment's settings, or None if no worker has run yet."""
        found: dict[bytes, bytes] = self.redis.hgetall(deployment_key(self.group_id))  # type: ignore[assignment]
        return Deployment.from_fields(found) if found else None

    def load(self, partition: int, *, takeover: bool = False) -> PartitionSnapshot:
        """Read a partition's checkpoint, outbox and statistics atomically.

        At a ``takeover`` also look for damage, which needs the rights of a worker. A new owner may
        talk to another server than its predecessor, so the next commit loads the script on that
        server again.
        """
        self._loaded.discard(partition)
        keys = self.keys(partition)
        batch = CommandBatch(self._servers, atomic=True)
        for key in (keys.progress, keys.outbox, keys.statistics):
            batch.on(key).hgetall(key)
        batch.on(keys.erasures).hlen(keys.erasures)
        if takeover:
            batch.on(keys.customers).hlen(keys.customers)
            batch.on(keys.seen).type(keys.seen)
        checkpoint, outbox, statistics, erasures, *others = batch.execute()
        is_damaged = False
        if takeover:
            customers, seen = others
            sizes = (customers, len(statistics), len(outbox), erasures, int(seen != b"none"))
            is_damaged = _is_damaged(checkpoint, sizes)
        return PartitionSnapshot(
            checkpoint=Checkpoint.from_fields(checkpoint) if checkpoint else None,
            outbox=sorted(
                (Entry.from_bytes(int(version), data) for version, data in outbox.items()),
                key=attrgetter("version"),
            ),
            statistics={int(g): data for g, data in statistics.items() if g != SWEPT},
            erasures=erasures,
            is_damaged=is_damaged,
        )

    def checkpoints(self, partitions: Sequence[int]) -> list[Checkpoint | None]:
        """Return the checkpoint of each partition, None where the store has none."""
        batch = CommandBatch(self._servers)
        for key in (self.keys(each).progress for each in partitions):
            batch.on(key).hgetall(key)
        return [Checkpoint.from_fields(each) if each else None for each in batch.execute()]

    def ring(self, partition: int) -> bytes:
        """Return the dedup ring, up to its current length."""
        return self.redis.get(self.keys(partition).seen) or b""  # type: ignore[return-value]

    def written_by(self, partitions: Sequence[int]) -> list[tuple[int, str]]:
        """Return (version, nonce) of the last commit of each partition."""
        batch = CommandBatch(self._servers)
        for key in (self.keys(each).progress for each in partitions):
            batch.on(key).hmget(key, "version", "nonce")
        return [(int(v or 0), (n or b"").decode()) for v, n in batch.execute()]

    def server(self, partition: int) -> str:
        """Return the display name of the server that holds a partition."""
        pool = server_of(self.redis, self.keys(partition).progress).connection_pool
        if isinstance(pool, SentinelConnectionPool):
            return f"Redis {pool.service_name}"
        at = pool.connection_kwargs
        return f"Redis {at.get('host', at.get('path'))}:{at.get('port', '')}".rstrip(":")

    def writable(self, partitions: Sequence[int]) -> bool:
        """Return whether the servers of some partitions accept writes.

        A demoted master answers reads, and PING, for ever.
        """
        batch = CommandBatch(self._servers)
        for key in (self.keys(each).seen for each in partitions):
            # Writes nothing, and is rejected wherever a write would be.
            batch.on(key).setrange(key, 0, b"")
        try:
            batch.execute()
        except RedisError:
            return False
        return True

    def times(self, partitions: Iterable[int]) -> dict[str, int]:
        """Return the clocks of the servers that hold some partitions, by server name."""
        keys = {self.server(partition): self.keys(partition).progress for partition in partitions}
        batch = CommandBatch(self._servers)
        for key in keys.values():
            batch.on(key).time()
        return dict(zip(keys, map(_micros, batch.execute()), strict=True))

    def read(self, wants: Sequence[ReadRequest]) -> list[ReadResult]:
        """Read the data of a micro-batch for all its partitions, one round trip per server."""
        batch = CommandBatch(self._servers)
        for want in wants:
            keys = self.keys(want.partition)
            customers, erasures = keys.customers, keys.erasures
            if want.customers:
                batch.on(customers).hmget(customers, want.customers)
            if want.erasures:
                batch.on(erasures).hmget(erasures, want.erasures)
            if want.scan:
                cursor, count = want.scan
                batch.on(customers).hscan(customers, cursor, count=count)
            batch.on(customers).time()
        replies = iter(batch.execute())
        return [_reading(want, replies) for want in wants]

    def commit(self, commits: Sequence[Commit]) -> list[bool]:
        """Commit each partition if it is at the expected checkpoint; return which were committed.

        One round trip per server.

        Raises
        ------
        NoScriptError
            If a server no longer has the script: it was restarted or failed over, so the cursors of
            scans are no longer valid on it.
        """
        if new := {commit.partition for commit in commits} - self._loaded:
            batch = CommandBatch(self._servers)
            for key in (self.keys(each).progress for each in new):
                batch.on(key).script_load(_SCRIPT)
            self._sha = batch.execute()[0]
            self._loaded |= new
        batch = CommandBatch(self._servers)
        for commit in commits:
            keys = self.keys(commit.partition)
            batch.on(keys[0]).evalsha(self._sha, len(keys), *keys, *_arguments(commit))
        try:
            return [reply == 1 for reply in batch.execute()]
        except NoScriptError:
            self._loaded.clear()
            raise

    def statistics_in(self, generation: int, partitions: Sequence[int]) -> list[bytes | None]:
        """Return each partition's statistics of a generation, b"" for one without customers.

        None where some records are in another generation, since the statistics would be partial.
        """
        batch = CommandBatch(self._servers)
        for key in (self.keys(each).statistics for each in partitions):
            batch.on(key).hmget(key, SWEPT, str(generation))
        return [
            (data or b"") if int(swept or 0) == generation else None
            for swept, data in batch.execute()
        ]

    def taken_over(self, generation: int, partitions: Sequence[int]) -> list[tuple[bool, bytes]]:
        """Return, per partition, whether all its records are in a generation or a newer one.

        The second item is the statistics of the records in that generation so far, b"" for none.
        """
        batch = CommandBatch(self._servers)
        for partition in partitions:
            keys = self.keys(partition)
            batch.on(keys.progress).hget(keys.progress, "swept_generation")
            batch.on(keys.statistics).hget(keys.statistics, str(generation))
        replies = batch.execute()
        return [
            (int(swept or 0) >= generation, data or b"")
            for swept, data in zip(replies[::2], replies[1::2], strict=True)
        ]

    def sizes(self, partitions: Sequence[int]) -> list[int]:
        """Return the number of customer records in each partition."""
        batch = CommandBatch(self._servers)
        for key in (self.keys(each).customers for each in partitions):
            batch.on(key).hlen(key)
        return batch.execute()

    def sample(self, wanted: Mapping[int, int]) -> dict[int, tuple[Checkpoint, list[bytes]]]:
        """Return each partition's checkpoint and up to ``wanted[partition]`` random records."""
        batch = CommandBatch(self._servers)
        for partition, count in wanted.items():
            keys = self.keys(partition)
            batch.on(keys.progress).hgetall(keys.progress)
            batch.on(keys.customers).hrandfield(keys.customers, count, withvalues=True)
        replies = iter(batch.execute())
        return {
            partition: (Checkpoint.from_fields(next(replies)), list(next(replies))[1::2])
            for partition in wanted
        }

    def customers(self, partition: int, count: int = 1000) -> Iterator[tuple[str, bytes]]:
        """Iterate over all customers of a partition: (id, record), each at least once.

        Raises
        ------
        RedisError
            If the partition moves to another server meanwhile, where the cursor is invalid.
        """
        cursor: int | None = 0
        while True:
            [found] = self.read([ReadRequest(partition, (), scan=(cursor or 0, count))])
            yield from found.scanned.items()
            cursor = found.cursor
            if not cursor:
                return


def _arguments(commit: Commit) -> list[str | int | bytes]:
    expected = commit.expected or Checkpoint()
    lists: list[Sequence[str | int | bytes]] = [
        commit.checkpoint.to_fields(),
        _flat(commit.records),
        commit.gone,
        [SWEPT, commit.checkpoint.settled_generation, *_flat(commit.statistics)],
        commit.statistics_gone,
        [commit.entry.version, commit.entry.data] if commit.entry else [],
        commit.trimmed,
        _flat(commit.erasures),
        [1, 2, 3, 4, 5, 6] if commit.empty_first else [],
        [part for write in commit.ring for part in write],
    ]
    arguments: list[str | int | bytes] = [expected.version, expected.nonce]
    for items in lists:
        arguments.append(len(items))
        arguments += items
    return arguments


def _reading(want: ReadRequest, replies: Iterator[Any]) -> ReadResult:
    records = next(replies) if want.customers else []
    erasures = next(replies) if want.erasures else []
    cursor, found = next(replies) if want.scan else (None, {})
    scanned = {name.decode(): blob for name, blob in found.items()}
    return ReadResult(records, erasures, cursor, scanned, _micros(next(replies)))


def _is_damaged(checkpoint: Mapping[bytes, bytes], sizes: Sequence[int]) -> bool:
    """Return whether the sizes of a partition's keys differ from those after its last commit."""
    version, *written = (checkpoint.get(name) for name in _SIZES)
    if version is None or version != checkpoint.get(b"version"):
        return False  # a release that writes no sizes has committed since
    return written != [str(size).encode() for size in sizes]


def _micros(time: tuple[int, int]) -> int:
    seconds, micros = time
    return seconds * 1_000_000 + micros


def _flat(
    pairs: Mapping[str, bytes] | Mapping[int, bytes] | Mapping[bytes, bytes],
) -> list[str | int | bytes]:
    return [part for pair in pairs.items() for part in pair]
