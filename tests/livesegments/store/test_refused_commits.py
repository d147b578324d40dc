"""A commit that Redis refuses writes nothing: on one server, and on a cluster of several."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest
from redis.exceptions import (
    NoPermissionError,
    NoScriptError,
    OutOfMemoryError,
    ReadOnlyError,
    ResponseError,
)

from livesegments.store.checkpoint import Checkpoint
from livesegments.store.cluster_pipeline import Client
from livesegments.store.partitions import (
    Commit,
    Partitions,
)
from tests.livesegments.store.commits import ENTRY, FIRST, after, configured, contents, servers_of
from tests.servers import RedisServer

pytestmark = pytest.mark.servers

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


@pytest.mark.parametrize("key", ["customers", "statistics", "outbox", "erasures", "seen"])
def test_a_commit_beside_an_evicted_key_is_refused_until_all_are_emptied(
    started: Partitions, client: Client, key: str
) -> None:
    assert not started.load(0, takeover=True).is_damaged
    client.unlink(getattr(started.keys(0), key))
    assert started.load(0, takeover=True).is_damaged
    assert started.commit([ALL]) == [False]
    assert started.commit([replace(ALL, empty_first=True)]) == [True]
    assert not started.load(0, takeover=True).is_damaged


def test_a_release_that_writes_no_sizes_may_have_committed_meanwhile(
    started: Partitions, client: Client
) -> None:
    keys = started.keys(0)
    client.hset(keys.progress, "version", ALL.checkpoint.version)
    client.hset(keys.customers, "c-3", b"three")
    assert not started.load(0, takeover=True).is_damaged
    later = replace(ALL, expected=ALL.checkpoint, checkpoint=after(ALL.checkpoint))
    assert started.commit([later]) == [True]
    assert not started.load(0, takeover=True).is_damaged
