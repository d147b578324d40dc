"""The part of Redis that the service uses, in memory, with the commit script in Python.

`test_database.py` compares it with Redis: same calls, same results.
"""

from collections.abc import Callable, Iterator, Sequence
from random import Random
from types import SimpleNamespace
from typing import Any, TypeVar
from zlib import crc32

from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import NoScriptError, ResponseError

from tests.simulation.edges import Edge

T = TypeVar("T")

BUCKETS = 4
HISTORY = 12
LONGEST_STRING = 512 * 1024 * 1024

Hash = dict[bytes, bytes]
Snapshot = tuple[dict[bytes, Hash], dict[bytes, bytes]]


def encode(value: object) -> bytes:
    """Return a key, field or value as redis-py sends it."""
    return value if isinstance(value, bytes) else str(value).encode()


class Database:
    """The contents of a Redis server, and its snapshots after each of the last commits.

    ``watch`` is called with the outbox after each. ``now_us`` is the server's clock.
    """

    def __init__(
        self,
        rng: Random,
        watch: Callable[[bytes, Hash], object] = lambda *_: None,
        now_us: Callable[[], int] = lambda: 0,
    ) -> None:
        self._rng, self._watch, self._now_us = rng, watch, now_us
        self.hashes: dict[bytes, Hash] = {}
        self.strings: dict[bytes, bytes] = {}
        self.scripts: set[str] = set()
        self.incarnation = 0
        """Increases when connections break: the server was replaced or restarted."""
        self.history: list[Snapshot] = [({}, {})]

    def execute(self, command: str, *arguments: Any, **options: Any) -> Any:
        """Run one command; errors are raised."""
        result = getattr(self, f"_{command}")(*arguments, **options)
        if command == "evalsha" and result == 1:
            self.history = [*self.history[1 - HISTORY :], self.snapshot()]
        return result

    def lose(self, back: int, prefix: bytes = b"") -> None:
        """Undo a number of commits, or lose all with -1: only keys with a prefix, if given."""
        before = ({}, {}) if back < 0 else self.history[max(0, len(self.history) - 1 - back)]
        self.restore(before, prefix)

    def restore(self, before: Snapshot, prefix: bytes = b"") -> None:
        """Continue from a snapshot: on another server, which has no scripts."""
        hashes, strings = before
        self.hashes = _mixed(self.hashes, {k: dict(v) for k, v in hashes.items()}, prefix)
        self.strings = _mixed(self.strings, strings, prefix)
        self.scripts = set()
        self.incarnation += 1
        self.history = [*self.history[1 - HISTORY :], self.snapshot()]

    def snapshot(self) -> Snapshot:
        """Return a snapshot of the contents."""
        return {key: dict(each) for key, each in self.hashes.items()}, dict(self.strings)

    # -- commands

    def _time(self) -> tuple[int, int]:
        return divmod(self._now_us(), 1_000_000)

    def _get(self, key: object) -> bytes | None:
        return self.strings.get(encode(key))

    def _type(self, key: object) -> bytes:
        """Return the type of a string's key."""
        return b"string" if encode(key) in self.strings else b"none"

    def _unlink(self, *keys: object) -> int:
        names = [encode(key) for key in keys]
        return sum(
            (self.hashes.pop(n, None) or self.strings.pop(n, None)) is not None for n in names
        )

    def _hash(self, key: object) -> Hash:
        return self.hashes.get(encode(key), {})

    def _hgetall(self, key: object) -> Hash:
        return dict(self._hash(key))

    def _hget(self, key: object, name: object) -> bytes | None:
        return self._hash(key).get(encode(name))

    def _hmget(self, key: object, *names: Any) -> list[bytes | None]:
        listed = names[0] if len(names) == 1 and not isinstance(names[0], str | bytes) else names
        found = self._hash(key)
        return [found.get(encode(name)) for name in listed]

    def _hlen(self, key: object) -> int:
        return len(self._hash(key))

    def _hsetnx(self, key: object, name: object, value: object) -> int:
        found = self.hashes.setdefault(encode(key), {})
        if encode(name) in found:
            return 0
        found[encode(name)] = encode(value)
        return 1

    def _hscan(self, key: object, cursor: int, *_: object, **__: int) -> tuple[int, Hash]:
        """Return a bucket: a field present throughout a scan is returned at least once."""
        at = {n: v for n, v in self._hash(key).items() if crc32(n) % BUCKETS == int(cursor)}
        return (int(cursor) + 1) % BUCKETS, at

    def _hrandfield(self, key: object, count: int, **_: bool) -> list[bytes]:
        found = self._hash(key)
        names = list(found)
        if count < len(names):
            names = self._rng.sample(names, count)
        return [part for name in names for part in (name, found[name])]

    def _script_load(self, _script: str) -> str:
        self.scripts.add("commit")
        return "commit"

    def _evalsha(self, sha: str, n: int, *keys_and_arguments: Any) -> int:
        if sha not in self.scripts:
            raise NoScriptError("No matching script. Please use EVAL.")
        keys = [encode(key) for key in keys_and_arguments[:n]]
        return self._commit(keys, [encode(each) for each in keys_and_arguments[n:]])

    def _eval(self, _script: str, _n: int, key: str, value: bytes) -> int:
        """Remove a refit request if it is unchanged."""
        return self._unlink(key) if self._get(key) == value else 0

    def same_writer(self, now: Hash, expected: Sequence[bytes]) -> bool:
        """The script's compare."""
        return (now.get(b"version", b"0"), now.get(b"nonce", b"")) == tuple(expected)

    def _commit(self, keys: Sequence[bytes], arguments: Sequence[bytes]) -> int:
        """commit.lua, line by line."""
        if not self.same_writer(self._hash(keys[0]), arguments[:2]):
            return 0
        lists: list[Sequence[bytes]] = []
        at = 2
        while at < len(arguments):
            n = int(arguments[at])
            lists.append(arguments[at + 1 : at + 1 + n])
            at += n + 1
        checkpoint, customers, gone, counted, counted_gone, outbox, told, erased, emptied, ring = (
            lists
        )
        version, now = arguments[0], self._sizes(keys)
        written = self._hmget(keys[0], [b"sized_version", *now])
        if not emptied and written[0] == version and written[1:] != list(now.values()):
            return 0
        self._unlink(*(keys[int(number) - 1] for number in emptied))
        writes = [(int(at), part) for at, part in zip(ring[::2], ring[1::2], strict=True)]
        for place, part in sorted(writes, key=lambda each: -each[0]):
            self._setrange(keys[5], place, part)
        self._hset(keys[1], customers)
        self._hdel(keys[1], gone)
        self._hset(keys[2], counted)
        self._hdel(keys[2], counted_gone)
        self._hset(keys[3], outbox)
        self._hdel(keys[3], told)
        self._hset(keys[4], erased)
        self._hset(keys[0], checkpoint)
        found = self.hashes[keys[0]]
        found |= {b"sized_version": found[b"version"], **self._sizes(keys)}
        self._watch(keys[3], self._hash(keys[3]))
        return 1

    def _sizes(self, keys: Sequence[bytes]) -> Hash:
        sizes = [*(len(self._hash(key)) for key in keys[1:5]), int(keys[5] in self.strings)]
        names = (b"customers", b"statistics", b"outbox", b"erasures", b"seen")
        return {b"sized_" + name: encode(n) for name, n in zip(names, sizes, strict=True)}

    def _hset(self, key: bytes, pairs: Sequence[bytes]) -> None:
        if pairs:
            self.hashes.setdefault(key, {}).update(zip(pairs[::2], pairs[1::2], strict=True))

    def _setrange(self, key: bytes, at: int, part: bytes) -> None:
        if at + len(part) > LONGEST_STRING:
            raise ResponseError("string exceeds maximum allowed size (proto-max-bulk-len)")
        before = self.strings.get(key, b"").ljust(at, b"\0")
        self.strings[key] = before[:at] + part + before[at + len(part) :]

    def _hdel(self, key: bytes, names: Sequence[bytes]) -> None:
        found = self.hashes.get(key, {})
        for name in names:
            found.pop(name, None)
        if not found:
            self.hashes.pop(key, None)


def _mixed(now: dict[bytes, T], before: dict[bytes, T], prefix: bytes) -> dict[bytes, T]:
    """Return the current contents, but keys with the prefix as in the snapshot."""
    kept = {key: each for key, each in now.items() if not key.startswith(prefix)}
    return kept | {key: each for key, each in before.items() if key.startswith(prefix)}


class Redis:
    """A client of the database."""

    def __init__(self, database: Database, edge: Edge) -> None:
        self.database, self.edge = database, edge
        self.connection_pool = SimpleNamespace(connection_kwargs={"host": "redis"})

    def pipeline(self, transaction: bool) -> "Pipeline":
        return Pipeline(self, transaction)

    def run(self, name: str, effect: Callable[[], Any], *, writes: bool = False) -> Any:
        """Make one call."""
        return self.edge.call(
            f"redis.{name}", effect, lambda: RedisConnectionError(name), writes=writes
        )

    def hscan_iter(self, key: str, count: int = 10) -> Iterator[tuple[bytes, bytes]]:
        cursor = 0
        while True:
            cursor, found = self.hscan(key, cursor, count=count)
            yield from found.items()
            if cursor == 0:
                return

    def __getattr__(self, command: str) -> Callable[..., Any]:
        def run(*arguments: Any, **options: Any) -> Any:
            return self.run(command, lambda: self.database.execute(command, *arguments, **options))

        return run


class Pipeline:
    """Commands sent together: atomically in a transaction, else one after another.

    When the connection breaks between them, the first have run and the others have not.
    """

    def __init__(self, client: Redis, transaction: bool) -> None:
        self._client, self._transaction = client, transaction
        self._commands: list[tuple[str, tuple[Any, ...], dict[str, Any]]] = []

    def __enter__(self) -> "Pipeline":
        return self

    def __exit__(self, *_: object) -> None:
        self._commands = []

    def __getattr__(self, command: str) -> Callable[..., "Pipeline"]:
        def queue(*arguments: Any, **options: Any) -> "Pipeline":
            self._commands.append((command, arguments, options))
            return self

        return queue

    def execute(self) -> list[Any]:
        commands, self._commands = self._commands, []
        if self._transaction:
            return list(self._client.run("multi", lambda: [self._run(*each) for each in commands]))
        if commands:
            self._client.edge.pause(f"before redis.pipeline of {commands[0][0]}")
        incarnation = self._client.database.incarnation
        replies = [self._reply(incarnation, *command) for command in commands]
        for reply in replies:
            if isinstance(reply, Exception):
                raise reply
        return replies

    def _run(self, name: str, arguments: tuple[Any, ...], options: dict[str, Any]) -> Any:
        return self._client.database.execute(name, *arguments, **options)

    def _reply(self, incarnation: int, name: str, *command: Any) -> Any:
        """Run one command of several; a script's error is raised after all have run."""

        def effect() -> Any:
            if self._client.database.incarnation != incarnation:
                raise RedisConnectionError("Connection closed by server.")
            try:
                return self._run(name, *command)
            except ResponseError as error:
                return error

        return self._client.run(name, effect, writes=name == "evalsha")
