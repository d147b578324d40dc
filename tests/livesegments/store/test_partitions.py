"""The store against real Redis: one server, and a cluster of several."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest
import redis
from redis.exceptions import (
    NoPermissionError,
    NoScriptError,
    OutOfMemoryError,
    ReadOnlyError,
    ResponseError,
)

from livesegments.store.checkpoint import Checkpoint, Offsets
from livesegments.store.cluster_pipeline import Client, Cluster, server_of
from livesegments.store.deployment import Deployment, StoreMismatchError
from livesegments.store.keys import deployment_key
from livesegments.store.outbox import Entry, Output
from livesegments.store.partitions import (
    Commit,
    Partitions,
    PartitionSnapshot,
    ReadRequest,
    ReadResult,
)
from tests.servers import RedisCluster, RedisServer

pytestmark = pytest.mark.servers

FIRST = Checkpoint(version=1, nonce="00000000000000aa")
DEPLOYMENT = Deployment(
    partitions=4,
    window_days=90,
    tiles=30,
    currency="USD",
    dedup_events=0,
    segments=("a", "b"),
    features=("purchases", "spend", "age", "income", "urbanicity"),
)
OUTPUT = Output("topic", b"key", None, [("name", b"value")])
ENTRY = Entry.of(1, Offsets(4, 5, 6), [OUTPUT])


@pytest.fixture(params=["fresh_redis", "fresh_cluster"])
def client(request: pytest.FixtureRequest) -> Iterator[Client]:
    server: RedisServer | RedisCluster = request.getfixturevalue(request.param)
    with server.client() as connected:
        yield connected


@pytest.fixture
def store(client: Client) -> Partitions:
    return Partitions(client, "group")


@pytest.fixture
def started(store: Partitions) -> Partitions:
    """A store in which partition 0 has one customer, statistics, an outbox and an erasure."""
    commit = Commit(
        0,
        None,
        FIRST,
        records={"c-1": b"one"},
        statistics={1: b"counted"},
        entry=ENTRY,
        erasures={b"hash": b"marker"},
    )
    assert store.commit([commit]) == [True]
    return store


def contents(client: Client) -> dict[bytes, bytes]:
    """Every key with its contents as bytes."""
    return {bytes(key): client.dump(key) or b"" for key in client.scan_iter()}


def after(checkpoint: Checkpoint, **changes: int | str) -> Checkpoint:
    return replace(checkpoint, version=checkpoint.version + 1, **changes)  # type: ignore[arg-type]


def test_a_fresh_partition_has_no_progress(store: Partitions) -> None:
    assert store.load(0) == PartitionSnapshot(checkpoint=None, outbox=[], statistics={}, erasures=0)


def test_a_commit_writes_all_it_has(started: Partitions) -> None:
    assert started.load(0) == PartitionSnapshot(
        checkpoint=FIRST, outbox=[ENTRY], statistics={1: b"counted"}, erasures=1
    )
    assert dict(started.customers(0)) == {"c-1": b"one"}
    assert started.load(1).checkpoint is None


def test_a_commit_removes_what_is_gone(started: Partitions) -> None:
    commit = Commit(
        0, FIRST, after(FIRST), gone=["c-1", "never-there"], statistics_gone=[1], trimmed=[1]
    )
    assert started.commit([commit]) == [True]
    assert started.load(0) == PartitionSnapshot(
        checkpoint=after(FIRST), outbox=[], statistics={}, erasures=1
    )
    assert dict(started.customers(0)) == {}


@pytest.mark.parametrize(
    "expected",
    [
        None,
        replace(FIRST, version=0),
        replace(FIRST, version=2),
        replace(FIRST, nonce="00000000000000ab"),
        replace(FIRST, nonce=""),
    ],
)
@pytest.mark.parametrize("empty_first", [False, True])
def test_a_commit_on_another_version_or_owner_is_refused_and_writes_nothing(
    started: Partitions, client: Client, expected: Checkpoint | None, empty_first: bool
) -> None:
    before = contents(client)
    commit = Commit(
        0,
        expected,
        Checkpoint(version=9, nonce="00000000000000bb"),
        records={"c-1": b"other", "c-2": b"two"},
        gone=["c-1"],
        statistics={2: b"x"},
        entry=replace(ENTRY, version=9),
        trimmed=[1],
        erasures={b"other": b"marker"},
        empty_first=empty_first,
    )
    assert started.commit([commit]) == [False]
    assert contents(client) == before


def test_an_expectation_of_the_past_is_refused_where_nothing_is(store: Partitions) -> None:
    assert store.commit([Commit(0, FIRST, after(FIRST))]) == [False]
    assert store.load(0).checkpoint is None


def test_partitions_are_accepted_or_refused_each_for_itself(started: Partitions) -> None:
    commits = [
        Commit(1, None, FIRST),
        Commit(0, None, after(FIRST)),
        Commit(0, FIRST, after(FIRST)),
        Commit(2, FIRST, after(FIRST)),
    ]
    assert started.commit(commits) == [True, False, True, False]


def test_twenty_thousand_customers_go_in_one_commit(store: Partitions) -> None:
    records = {f"c-{i}": b"%d" % i for i in range(20_000)}
    assert store.commit([Commit(0, None, FIRST, records=records)]) == [True]
    assert dict(store.customers(0)) == records
    assert store.sizes([0, 1]) == [20_000, 0]
    assert store.commit([Commit(0, FIRST, after(FIRST), gone=list(records))]) == [True]
    assert store.sizes([0]) == [0]


def test_a_partition_can_be_emptied_in_the_commit_that_writes_it_anew(started: Partitions) -> None:
    anew = after(FIRST, recovering=1)
    commit = Commit(0, FIRST, anew, records={"c-2": b"two"}, empty_first=True)
    assert started.commit([commit, Commit(1, None, FIRST, records={"c-3": b""})]) == [True] * 2
    assert started.load(0) == PartitionSnapshot(
        checkpoint=anew, outbox=[], statistics={}, erasures=0
    )
    assert dict(started.customers(0)) == {"c-2": b"two"}
    assert dict(started.customers(1)) == {"c-3": b""}


def test_the_outbox_is_loaded_in_the_order_of_versions(started: Partitions) -> None:
    checkpoint = FIRST
    for _ in range(11):
        entry = replace(ENTRY, version=checkpoint.version + 1)
        assert started.commit([Commit(0, checkpoint, after(checkpoint), entry=entry)]) == [True]
        checkpoint = after(checkpoint)
    assert [entry.version for entry in started.load(0).outbox] == list(range(1, 13))
    trim = Commit(0, checkpoint, after(checkpoint), trimmed=range(1, 12))
    assert started.commit([trim]) == [True]
    assert started.load(0).outbox == [replace(ENTRY, version=12)]


@pytest.mark.parametrize("name", ["progress", "customers", "statistics", "outbox", "erasures"])
def test_a_key_of_another_type_is_an_error_and_nothing_is_written(
    started: Partitions, client: Client, name: str
) -> None:
    key = getattr(started.keys(0), name)
    client.delete(key)
    client.set(key, "not a hash")
    before = contents(client)
    commit = Commit(
        0,
        FIRST,
        after(FIRST),
        records={"c-2": b"two"},
        entry=replace(ENTRY, version=2),
        erasures={b"h": b"m"},
        empty_first=True,
    )
    with pytest.raises(ResponseError, match=f"WRONGTYPE .*{name}.*nothing was written"):
        started.commit([commit])
    assert contents(client) == before


@contextmanager
def full(client: Client) -> Iterator[None]:
    """Redis without free memory."""
    for server in servers_of(client):
        server.config_set("maxmemory-policy", "noeviction")
    with configured(client, "maxmemory", "1"):
        yield


def test_a_full_store_refuses_a_commit_as_a_whole(started: Partitions, client: Client) -> None:
    before = contents(client)
    commit = Commit(
        0,
        FIRST,
        after(FIRST),
        records={"c-2": b"two"},
        gone=["c-1"],
        entry=replace(ENTRY, version=2),
    )
    with full(client), pytest.raises(OutOfMemoryError):
        started.commit([commit])
    assert contents(client) == before


@pytest.mark.parametrize(
    "commit",
    [
        Commit(0, FIRST, after(FIRST), records={"c-2": b"two"}, empty_first=True),
        Commit(0, FIRST, after(FIRST), gone=["c-1"], entry=replace(ENTRY, version=2)),
    ],
)
def test_a_full_store_takes_a_commit_as_a_whole_when_it_deletes_first(
    started: Partitions, commit: Commit, client: Client
) -> None:
    # Redis lets a script that has already written continue.
    with full(client):
        assert started.commit([commit]) == [True]
    assert dict(started.customers(0)) == commit.records
    assert started.load(0).checkpoint == commit.checkpoint
    assert started.load(0).outbox[-1:] == ([commit.entry] if commit.entry else [])


ALL = Commit(
    0,
    FIRST,
    after(FIRST),
    records={"c-2": b"two"},
    gone=["c-1"],
    statistics={2: b"counted"},
    statistics_gone=[1],
    entry=replace(ENTRY, version=2),
    trimmed=[1],
    erasures={b"other": b"marker"},
    ring=[(0, b"12345678"), (16, b"12345678")],
)
"""Runs every command of the script except the one that flushes."""


def servers_of(client: Client) -> list[redis.Redis]:
    return list(client.masters().values()) if isinstance(client, Cluster) else [client]


@contextmanager
def configured(client: Client, name: str, value: str) -> Iterator[None]:
    """Redis with a changed setting."""
    before = [str(server.config_get(name)[name]) for server in servers_of(client)]
    for server in servers_of(client):
        server.config_set(name, value)
    try:
        yield
    finally:
        for server, was in zip(servers_of(client), before, strict=True):
            server.config_set(name, was)


@pytest.mark.parametrize("empty_first", [False, True])
def test_a_ring_longer_than_a_string_may_be_is_an_error_and_nothing_is_written(
    started: Partitions, client: Client, empty_first: bool
) -> None:
    before = contents(client)
    ring = [(0, b"12345678"), (512 * 1024 * 1024 - 7, b"12345678")]
    with pytest.raises(ResponseError, match="maximum allowed size"):
        started.commit([replace(ALL, ring=ring, empty_first=empty_first)])
    assert contents(client) == before if not empty_first else started.load(0).checkpoint is None


def test_a_server_that_takes_shorter_strings_only_is_an_error_and_nothing_is_written(
    started: Partitions, client: Client
) -> None:
    before = contents(client)
    ring = [(0, b"12345678"), (1024 * 1024, b"12345678")]
    with (
        configured(client, "proto-max-bulk-len", str(1024 * 1024)),
        pytest.raises(ResponseError, match="maximum allowed size"),
    ):
        started.commit([replace(ALL, ring=ring)])
    assert contents(client) == before


def test_a_store_that_has_too_few_replicas_refuses_a_commit_as_a_whole(
    started: Partitions, client: Client
) -> None:
    before = contents(client)
    with (
        configured(client, "min-replicas-to-write", "9"),
        pytest.raises(ResponseError, match="NOREPLICAS"),
    ):
        started.commit([ALL])
    assert contents(client) == before
    assert started.commit([ALL]) == [True]


def test_a_replica_refuses_a_commit_as_a_whole(fresh_redis: RedisServer) -> None:
    with fresh_redis.client() as client:
        started = Partitions(client, "group")
        assert started.commit([Commit(0, None, FIRST, records={"c-1": b"one"})]) == [True]
        before = contents(client)
        client.replicaof("127.0.0.1", "1")
        try:
            with pytest.raises(ReadOnlyError):
                started.commit([ALL])
        finally:
            client.replicaof("NO", "ONE")
        assert contents(client) == before


@pytest.mark.parametrize("command", ["unlink", "hset", "hdel", "setrange"])
def test_a_permission_withdrawn_at_work_refuses_a_commit_as_a_whole(
    started: Partitions, client: Client, command: str
) -> None:
    before = contents(client)
    for server in servers_of(client):
        server.execute_command("ACL", "SETUSER", "default", f"-{command}")  # type: ignore[no-untyped-call]
    try:
        with pytest.raises(NoPermissionError, match="nothing was written"):
            started.commit([ALL])
    finally:
        for server in servers_of(client):
            server.execute_command("ACL", "SETUSER", "default", f"+{command}")  # type: ignore[no-untyped-call]
    assert contents(client) == before


def test_a_server_that_forgot_the_script_is_another_and_is_told_it_at_the_next_commit(
    started: Partitions, client: Client
) -> None:
    assert started.commit([Commit(1, None, FIRST)]) == [True]
    client.script_flush()
    commits = [Commit(0, FIRST, after(FIRST)), Commit(1, FIRST, after(FIRST))]
    with pytest.raises(NoScriptError):
        started.commit(commits)
    assert started.commit(commits) == [True, True]


def test_workers_agree_on_what_the_first_one_wrote(store: Partitions) -> None:
    assert store.deployment() is None
    store.agree(DEPLOYMENT)
    store.agree(DEPLOYMENT)
    assert store.deployment() == DEPLOYMENT


@pytest.mark.parametrize(
    ("name", "here", "there"),
    [
        ("partitions", 8, 4),
        ("window_days", 30, 90),
        ("tiles", 10, 30),
        ("currency", "EUR", "USD"),
        ("consent", "required", "optional"),
        ("partitioner", "crc32", "murmur2"),
    ],
)
def test_a_worker_that_disagrees_is_told_on_what(
    store: Partitions, name: str, here: int | str, there: int | str
) -> None:
    store.agree(DEPLOYMENT)
    differs = replace(DEPLOYMENT, **{name: here})  # type: ignore[arg-type]
    with pytest.raises(
        StoreMismatchError, match=f"{name} is {here} here and {there} in the store of group 'group'"
    ):
        store.agree(differs)
    assert store.deployment() == DEPLOYMENT


def test_a_store_of_an_older_release_has_optional_consents(
    store: Partitions, client: Client
) -> None:
    store.agree(DEPLOYMENT)
    client.hdel(deployment_key(store.group_id), "consent")
    with pytest.raises(StoreMismatchError, match="consent is required here and optional in the"):
        store.agree(replace(DEPLOYMENT, consent="required"))
    store.agree(DEPLOYMENT)
    assert store.deployment() == DEPLOYMENT


@pytest.mark.parametrize("events", [0, 7])
def test_a_store_of_an_earlier_version_is_refused_until_it_is_rebuilt(
    store: Partitions, client: Client, events: int
) -> None:
    deployment = replace(DEPLOYMENT, dedup_events=events)
    store.forget(deployment)
    with pytest.raises(StoreMismatchError, match=r"record_format is 2 here.*livesegments rebuild"):
        deployment.check({b"dedup_format": b"2", b"record_format": b"1"}, store.group_id)
    client.hdel(deployment_key(store.group_id), "partitioner", "dedup_format", "topic_prefix")
    for _ in range(2):
        with pytest.raises(StoreMismatchError, match="livesegments rebuild"):
            store.agree(deployment)
    with pytest.raises(StoreMismatchError, match="topic_prefix"):
        store.agree(replace(deployment, topic_prefix="shop."))
    assert store.deployment() != deployment
    store.forget(deployment)
    assert store.deployment() == deployment


def test_partitions_added_to_the_topics_of_a_running_worker_are_refused() -> None:
    DEPLOYMENT.check_assigned([0, DEPLOYMENT.partitions - 1])
    DEPLOYMENT.check_assigned([])
    with pytest.raises(StoreMismatchError, match="Customers are in other partitions now"):
        DEPLOYMENT.check_assigned([DEPLOYMENT.partitions])


def test_segments_are_agreed_on_in_their_order(store: Partitions) -> None:
    store.agree(DEPLOYMENT)
    with pytest.raises(StoreMismatchError, match=r"segments is b,a here and a,b.*SEGMENTATION"):
        store.agree(replace(DEPLOYMENT, segments=("b", "a")))


def test_features_are_agreed_on_and_those_of_earlier_stores_are_known(store: Partitions) -> None:
    store.agree(DEPLOYMENT)
    others = replace(DEPLOYMENT, features=("spend", "recency"))
    told = (
        r"features is spend,recency here and purchases,spend,.*SEGMENTATION.*livesegments rebuild"
    )
    with pytest.raises(StoreMismatchError, match=told):
        store.agree(others)
    store.redis.hdel(deployment_key(store.group_id), "features")
    with pytest.raises(StoreMismatchError, match=told):
        store.agree(others)
    store.agree(DEPLOYMENT)
    assert store.deployment() == DEPLOYMENT


def test_groups_do_not_see_each_other(started: Partitions, client: Client) -> None:
    other = Partitions(client, "other")
    assert other.load(0).checkpoint is None
    assert other.commit([Commit(0, None, FIRST, records={"c-1": b"theirs"})]) == [True]
    assert dict(started.customers(0)) == {"c-1": b"one"}


def test_a_round_reads_in_the_order_it_asks(started: Partitions) -> None:
    assert started.commit([Commit(1, None, FIRST, records={"d": b"4", "e": b"5"})]) == [True]
    readings = started.read(
        [
            ReadRequest(1, ["e", "nobody", "d"], [b"hash"]),
            ReadRequest(0, ["c-1"], [b"nobody", b"hash"], scan=(0, 100)),
            ReadRequest(2, [], scan=(0, 100)),
            ReadRequest(0, []),
        ]
    )
    assert readings == [
        ReadResult([b"5", None, b"4"], [None], None, {}),
        ReadResult([b"one"], [None, b"marker"], 0, {"c-1": b"one"}),
        ReadResult([], [], 0, {}),
        ReadResult([], [], None, {}),
    ]


def test_a_read_and_a_look_say_what_time_it_is_at_the_server(started: Partitions) -> None:
    before_us = time.time_ns() // 1_000
    [reading] = started.read([ReadRequest(0, [])])
    times = started.times([0, 1, 2])
    assert all(name.startswith("Redis 127.0.0.1:") for name in times)
    assert before_us <= reading.time_us <= min(times.values())
    assert max(times.values()) <= time.time_ns() // 1_000


def test_a_walk_comes_by_every_customer(store: Partitions) -> None:
    records = {f"c-{i}": b"r" * 220 for i in range(3_000)}
    assert store.commit([Commit(0, None, FIRST, records=records)]) == [True]
    seen: dict[str, bytes] = {}
    cursor: int | None = 0
    steps = 0
    while steps == 0 or cursor:
        assert cursor is not None
        [reading] = store.read([ReadRequest(0, [], scan=(cursor, 100))])
        seen.update(reading.scanned)
        cursor, steps = reading.cursor, steps + 1
    assert seen == records
    assert steps > 10, "a bounded stretch at a time"


def test_customers_with_any_name_come_back(store: Partitions) -> None:
    records = {"ümläut": b"1", "spa ce": b"2", "{9}": b"3", "日本": b"\xff\x00"}
    assert store.commit([Commit(0, None, FIRST, records=records)]) == [True]
    assert store.read([ReadRequest(0, list(records))])[0].records == list(records.values())
    assert dict(store.customers(0)) == records


def test_statistics_of_a_generation_are_there_once_all_records_are_in_it(
    store: Partitions,
) -> None:
    # 0 is settled in generation 3, 1 is still moving to it, 2 has moved on to 4, 3 has no customers
    # in it, and nothing is known of 4.
    commits = [
        Commit(p, None, replace(FIRST, generation=g, swept_generation=s), statistics=statistics)
        for p, g, s, statistics in (
            (0, 3, 3, {3: b"three"}),
            (1, 3, 2, {2: b"two", 3: b"part of three"}),
            (2, 4, 3, {3: b"rest of three", 4: b"part of four"}),
            (3, 3, 3, {}),
        )
    ]
    assert store.commit(commits) == [True] * 4
    assert store.statistics_in(3, [0, 1, 2, 3, 4]) == [b"three", None, None, b"", None]
    assert store.load(1).statistics == {2: b"two", 3: b"part of three"}


def test_the_last_owner_of_each_partition_can_be_asked(started: Partitions) -> None:
    assert started.written_by([1, 0]) == [(0, ""), (1, FIRST.nonce)]


def test_a_sample_has_as_many_different_records_as_wanted_or_all(store: Partitions) -> None:
    records = {f"c-{i}": b"%d" % i for i in range(100)}
    assert store.commit([Commit(0, None, FIRST, records=records), Commit(1, None, FIRST)]) == [
        True,
        True,
    ]
    drawn = store.sample({0: 30, 1: 5})
    assert drawn[0][0] == FIRST
    assert len(set(drawn[0][1])) == 30
    assert set(drawn[0][1]) <= set(records.values())
    assert drawn[1] == (FIRST, [])
    assert sorted(store.sample({0: 1_000})[0][1]) == sorted(records.values())


def test_a_hundred_thousand_customers_cost_at_most_350_bytes_each(
    store: Partitions, client: Client, capsys: pytest.CaptureFixture[str]
) -> None:
    customers = 100_000
    store.commit([Commit(0, None, FIRST)])
    server = server_of(client, store.keys(0).customers)
    before = int(dict(server.info("memory"))["used_memory"])
    checkpoint = FIRST
    for start in range(0, customers, 10_000):
        names = [f"c{i:011d}" for i in range(start, start + 10_000)]
        records = {name: bytes(220) for name in names}
        assert store.commit([Commit(0, checkpoint, after(checkpoint), records=records)]) == [True]
        checkpoint = after(checkpoint)
    grown = (int(dict(server.info("memory"))["used_memory"]) - before) / customers
    usage = (client.memory_usage(store.keys(0).customers, samples=0) or 0) / customers
    with capsys.disabled():
        print(  # noqa: T201
            f"\nbytes a customer: {grown:.0f} by used_memory, {usage:.0f} by MEMORY USAGE"
        )
    assert grown <= 350
    assert usage <= 350
