"""The store against real Redis: one server, and a cluster of several."""

import time
from dataclasses import replace

import pytest

from livesegments.store.cluster_pipeline import Client, server_of
from livesegments.store.partitions import (
    Commit,
    Partitions,
    PartitionSnapshot,
    ReadRequest,
    ReadResult,
)
from tests.livesegments.store.commits import (
    ENTRY,
    FIRST,
    after,
)

pytestmark = pytest.mark.servers


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
