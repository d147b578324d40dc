"""The simulation's Redis against real Redis: same calls through `Partitions`, same results."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from random import Random
from typing import Any

import pytest
import redis
from redis.exceptions import NoScriptError, ResponseError

from livesegments.app import deployment
from livesegments.store.checkpoint import Checkpoint
from livesegments.store.outbox import Entry, Output
from livesegments.store.partitions import Commit, Partitions, ReadRequest
from tests.servers import RedisServer
from tests.simulation.cluster import PARTITIONS
from tests.simulation.database import LONGEST_STRING, Database, Redis
from tests.simulation.edges import Edge
from tests.simulation.harness import SETTINGS

pytestmark = pytest.mark.servers

DEPLOYMENT = deployment(SETTINGS, PARTITIONS)
CUSTOMERS = [f"c{n}" for n in range(6)]
MARKERS = [b"m0", b"m1", b"\xff"]


@pytest.fixture
def real(fresh_redis: RedisServer) -> Iterator[Partitions]:
    with redis.Redis.from_url(fresh_redis.url, protocol=2) as client:
        yield Partitions(client, "group")


def simulated() -> tuple[Database, Partitions]:
    database = Database(Random(0))
    client: Any = Redis(database, Edge("test"))
    return database, Partitions(client, "group")


class Calls:
    """Generates calls, each made to both."""

    def __init__(self, seed: int) -> None:
        self._rng = Random(seed)
        self._last: dict[int, Checkpoint | None] = {0: None, 1: None}
        self._older = [Checkpoint(version=1, nonce="00000000000000bb")]

    def next(self) -> Callable[[Partitions], Any]:
        rng = self._rng
        p = rng.randrange(2)
        if rng.random() < 0.6:
            commits = [self._commit(p) for p in rng.sample((0, 1), rng.choice((1, 1, 2)))]
            return lambda store: store.commit(commits)
        wants = [
            ReadRequest(
                p, rng.sample(CUSTOMERS, rng.randrange(4)), rng.sample(MARKERS, rng.randrange(3))
            )
        ]
        calls: list[Callable[[Partitions], Any]] = [
            lambda store: store.agree(DEPLOYMENT),
            lambda store: store.deployment(),
            lambda store: store.load(p),
            lambda store: store.ring(p),
            lambda store: store.written_by([0, 1]),
            lambda store: store.read(wants),
            lambda store: store.statistics_in(1, [0, 1]),
            lambda store: store.sizes([0, 1]),
            lambda store: {n: sorted(b) for n, (_, b) in store.sample({p: 50}).items()},
            lambda store: dict(store.customers(p)),
            lambda store: _walked(store, p),
        ]
        return rng.choice(calls)

    def _commit(self, partition: int) -> Commit:
        rng = self._rng
        last = self._last[partition]
        base = last or Checkpoint()
        checkpoint = replace(
            base,
            version=base.version + rng.choice((1, 1, 5)),
            nonce=rng.choice((base.nonce or "00000000000000aa", f"{rng.getrandbits(64):016x}")),
            purchases=base.purchases + 1,
            generation=rng.choice((0, 1)),
            swept_generation=rng.choice((0, 1)),
        )
        expected = last if rng.random() < 0.8 else rng.choice(self._older)
        if expected is last:
            self._older.append(checkpoint)
            self._last[partition] = checkpoint
        outputs = [Output("topic", b"key", rng.choice((None, b"v")), [("h", b"x")])]
        entry = (
            Entry.of(checkpoint.version, checkpoint.offsets, outputs)
            if rng.random() < 0.5
            else None
        )
        return Commit(
            partition,
            expected,
            checkpoint,
            records={name: rng.randbytes(3) for name in rng.sample(CUSTOMERS, rng.randrange(4))},
            gone=rng.sample(CUSTOMERS, rng.randrange(2)),
            statistics={rng.randrange(3): rng.randbytes(4)},
            statistics_gone=[rng.randrange(3)],
            entry=entry,
            trimmed=[base.version] if rng.random() < 0.5 else [],
            erasures={name: rng.randbytes(2) for name in rng.sample(MARKERS, rng.randrange(2))},
            ring=[(rng.randrange(4) * 8, rng.randbytes(8)) for _ in range(rng.randrange(3))],
            empty_first=rng.random() < 0.1,
        )


def _walked(store: Partitions, partition: int) -> dict[str, bytes]:
    """All customers, by the steps of a sweep, whose size each server chooses."""
    found: dict[str, bytes] = {}
    cursor = 0
    while True:
        [reading] = store.read([ReadRequest(partition, (), scan=(cursor, 2))])
        found |= reading.scanned
        if not (cursor := reading.cursor or 0):
            return found


@pytest.mark.parametrize("seed", range(20))
def test_every_call_gives_what_redis_gives(real: Partitions, seed: int) -> None:
    _, fake = simulated()
    calls = Calls(seed)
    for _ in range(60):
        call = calls.next()
        assert call(fake) == call(real)


def test_a_server_without_the_script_is_given_it_at_the_next_commit(real: Partitions) -> None:
    database, fake = simulated()
    commit = Commit(0, None, Checkpoint(version=1, nonce="00000000000000aa"))
    for store in (fake, real):
        assert store.commit([commit]) == [True]
    database.scripts.clear()
    real.redis.script_flush()
    for store in (fake, real):
        with pytest.raises(NoScriptError):
            store.commit([commit])
        assert store.commit([commit, replace(commit, partition=1)]) == [False, True]


def test_a_ring_that_is_too_long_for_a_string_is_an_error_and_nothing_is_written(
    real: Partitions,
) -> None:
    _, fake = simulated()
    checkpoint = Checkpoint(version=1, nonce="00000000000000aa")
    ring = [(0, bytes(8)), (LONGEST_STRING - 7, bytes(8))]
    for store in (fake, real):
        with pytest.raises(ResponseError, match="maximum allowed size"):
            store.commit([Commit(0, None, checkpoint, records={"c": b"1"}, ring=ring)])
        assert store.load(0).checkpoint is None
        assert store.ring(0) == b""
        assert store.sizes([0]) == [0]
