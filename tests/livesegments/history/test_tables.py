"""Records written into the tables of a history, in any batches."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from kafka.consumer.fetcher import ConsumerRecord

from livesegments.contracts import dead_letters
from livesegments.contracts.dead_letter_replays import Place, mark
from livesegments.contracts.topics import CHANGES, DEAD_LETTERS, DEFINITIONS, REPLAYS, STATES
from livesegments.history import tables
from livesegments.history.database import History, Identity
from tests.livesegments.history.made import (
    NOON,
    A,
    B,
    change,
    change_record,
    record,
    state,
    state_record,
)

NAIVE_NOON = NOON.replace(tzinfo=None)


@pytest.fixture
def history() -> Iterator[History]:
    made = History(Path(":memory:"))
    made.rebuild(Identity("group", "", "topics"))
    yield made
    made.close()


def write(history: History, *records: ConsumerRecord) -> int:
    polled: dict[str, list[ConsumerRecord]] = {}
    for each in records:
        polled.setdefault(each.topic, []).append(each)
    with history.transaction() as cursor:
        return tables.write(cursor, polled)


def rows(history: History, query: str) -> list[Any]:
    with history.cursor() as cursor:
        return cursor.execute(query).fetchall()


def test_a_change_has_its_columns(history: History) -> None:
    assert write(history, change_record(change("ann", 7, A, B), 3, partition=1)) == 0
    assert rows(history, "SELECT * FROM changes") == [
        (
            *(1, 3, NAIVE_NOON + timedelta(milliseconds=3), "ann"),
            rows(history, "SELECT md5_number_lower('ann')")[0][0],
            *("reassigned", "a", "b"),
            *(NAIVE_NOON + timedelta(minutes=7), NAIVE_NOON + timedelta(minutes=7, seconds=1)),
            *(7, "live", 3, 7, 0.5, 1.5, "b"),
            [
                {
                    "feature": "spend",
                    "direction": "above",
                    "z_score": 0.65,
                    "previous_z_score": None,
                    "contribution": None,
                }
            ],
            *(None, True),
        )
    ]


def test_moves_add_up_over_commits_and_segments_may_be_none(history: History) -> None:
    write(history, *(change_record(change(f"c{i}", i), i) for i in range(3)))
    write(history, change_record(change("c3", 3), 3), change_record(change("c0", 59, A, None), 4))
    write(history, change_record(change("c0", 61, None, B), 5))
    assert rows(history, "SELECT * FROM moves ORDER BY ALL") == [
        (NAIVE_NOON, "a", None, "live", 1),
        (NAIVE_NOON, None, "a", "live", 4),
        (NAIVE_NOON + timedelta(hours=1), None, "b", "live", 1),
    ]


def test_a_null_state_deletes_the_customer_before_it_and_nobody_else(history: History) -> None:
    write(
        history,
        *(change_record(change(name, i), i) for i, name in enumerate(["ann", "bob", "ann"])),
        state_record("ann", 2, 0, state("ann", 2)),
        state_record("bob", 1, 1, state("bob", 1)),
    )
    # The customer buys again in the commit after the erasure: that is the start of a new history.
    write(
        history,
        change_record(change("ann", 5, A, None, origin="erasure"), 3),
        state_record("ann", 5, 2),
        change_record(change("ann", 6, None, B), 4),
        state_record("ann", 6, 3, state("ann", 6, B)),
    )
    assert rows(history, "SELECT customer_id, version FROM changes ORDER BY ALL") == [
        ("ann", 6),
        ("bob", 1),
    ]
    assert rows(history, "SELECT customer_id, segment FROM customers ORDER BY ALL") == [
        ("ann", "b"),
        ("bob", "a"),
    ]
    assert rows(history, "SELECT sum(changes) FROM moves") == [(5,)]  # counts name no customer


def test_an_erasure_leaves_no_row_with_the_id_in_any_table(history: History) -> None:
    write(history, change_record(change("ann", 1), 0), state_record("ann", 1, 0, state("ann", 1)))
    write(history, state_record("ann", 2, 1))
    for (table,) in rows(history, "SHOW TABLES"):
        assert "ann" not in repr(rows(history, f"FROM {table}"))


def test_changes_of_customers_without_a_state_go_after_a_compaction(history: History) -> None:
    write(
        history,
        change_record(change("ann", 1), 0),
        change_record(change("bob", 2), 1),
        state_record("bob", 2, 7, state("bob", 2)),
    )
    with history.transaction() as cursor:
        tables.delete_unowned(cursor)
    assert rows(history, "SELECT customer_id FROM changes") == [("bob",)]


def test_changes_before_an_erasure_go_where_compaction_left_only_a_later_state(
    history: History,
) -> None:
    write(
        history,
        change_record(change("ann", 1), 0),
        change_record(change("bob", 2), 1),
        change_record(change("ann", 3, A, None, origin="erasure"), 2),
        change_record(change("ann", 4, None, B), 3),
        change_record(change("bob", 5, None, B, origin="erasure"), 4),  # had no segment before
        state_record("ann", 4, 7, state("ann", 4, B)),
        state_record("bob", 5, 8, state("bob", 5, B)),
    )
    with history.transaction() as cursor:
        tables.delete_unowned(cursor)
    assert rows(history, "SELECT customer_id, version FROM changes ORDER BY ALL") == [
        ("ann", 4),
        ("bob", 5),
    ]


@pytest.mark.parametrize("name", ["ü/ß %2F", "a" * 128, "'; DROP TABLE changes; --", "☃\t\x00"])
def test_ids_of_every_kind_are_kept_and_forgotten(history: History, name: str) -> None:
    write(history, change_record(change(name, 1), 0), state_record(name, 1, 0, state(name, 1)))
    assert rows(history, "SELECT customer_id FROM changes") == [(name,)]
    assert rows(history, "SELECT customer_id FROM customers") == [(name,)]
    write(history, state_record(name, 2, 1))
    assert rows(history, "FROM changes") == rows(history, "FROM customers") == []


def test_what_others_wrote_is_left_out_and_counted(history: History) -> None:
    values = [b"", b"{", b"[]", b"7", b'{"customer_id":"x"}', b"\xff", b'{"version":"much"}']
    bad = [record(CHANGES, i, "x", value, i) for i, value in enumerate(values)]
    assert write(history, *bad, change_record(change("ann", 9), 9)) == len(bad)
    assert rows(history, "SELECT customer_id FROM changes") == [("ann",)]
    bad = [record(STATES, i, "x", value, i) for i, value in enumerate(values)]
    assert write(history, *bad, state_record("ann", 9, 9, state("ann", 9))) == len(bad)
    assert rows(history, "SELECT customer_id FROM customers") == [("ann",)]


def test_definitions_are_kept_by_generation(history: History) -> None:
    def definition(generation: int, version: int, offset: int) -> ConsumerRecord:
        value = f'{{"id":"a","generation":{generation},"version":{version},"size":{offset}}}'
        return record(DEFINITIONS, offset, "a", value.encode(), version)

    write(history, definition(1, 4, 0), definition(1, 5, 1), definition(2, 6, 2))
    write(history, definition(2, 8, 3))
    first = NAIVE_NOON + timedelta(milliseconds=2)
    found = rows(history, "SELECT generation, version, value->>'size' FROM definitions ORDER BY 1")
    assert found == [(1, 5, "1"), (2, 8, "3")]
    assert rows(history, "SELECT max(first_published_at) FROM definitions") == [(first,)]


def test_dead_letters_have_their_origin_and_their_replay_but_no_value(history: History) -> None:
    made = dead_letters.headers(
        [("own", b"header")],
        topic="purchases.v1",
        partition=2,
        offset=77,
        timestamp_ms=5,
        reason=dead_letters.Reason.NOT_JSON,
        message="the value is not JSON",
    )
    letter = record(DEAD_LETTERS, 4, "ann", b"secret", 1)._replace(headers=made)
    stranger = record(DEAD_LETTERS, 5, "ann", b"secret", 1)
    place = Place(letter.partition, letter.offset, letter.timestamp)
    key, value = mark(place, "purchases.v1", "not_json", NOON)
    replay = record(REPLAYS, 0, key.decode(), value, 1)
    assert write(history, letter, stranger, replay) == 1
    found = rows(
        history,
        "SELECT * EXCLUDE (refused_at) FROM dead_letters"
        ' LEFT JOIN dead_letter_replays USING ("partition", "offset", timestamp_ms)',
    )
    assert found == [
        (
            *(0, 4, letter.timestamp, "not_json", "purchases.v1", 2, 77, None),
            *("the value is not JSON", NAIVE_NOON),
        )
    ]


steps = st.lists(st.tuples(st.sampled_from("xyz"), st.sampled_from("abe")), max_size=8)
"""Customer, and the segment moved to or an erasure."""


@given(steps, st.data())
@settings(max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_however_records_fall_into_commits_the_history_is_the_same(
    history: History, taken: list[tuple[str, str]], data: st.DataObject
) -> None:
    history.rebuild(Identity("group", "", "topics"))
    expected: dict[str, list[int]] = {}
    pending: list[ConsumerRecord] = []
    for version, (name, step) in enumerate(taken):
        if step == "e":
            expected.pop(name, None)
            pending.append(change_record(change(name, version, A, None), version))
            pending.append(state_record(name, version, version))
        else:
            expected.setdefault(name, []).append(version)
            segment = A if step == "a" else B
            pending.append(change_record(change(name, version, None, segment), version))
            told = state(name, version, segment)
            pending.append(state_record(name, version, version, told))
        if data.draw(st.booleans()):
            write(history, *pending)
            pending = []
    write(history, *pending)
    kept = sorted((name, version) for name, versions in expected.items() for version in versions)
    assert rows(history, "SELECT customer_id, version FROM changes ORDER BY ALL") == kept
    latest = sorted((name, max(versions)) for name, versions in expected.items())
    assert rows(history, "SELECT customer_id, version FROM customers ORDER BY ALL") == latest
    assert rows(history, "SELECT coalesce(sum(changes), 0) FROM moves") == [(len(taken),)]


def test_a_failed_commit_leaves_nothing_behind(history: History) -> None:
    def fail() -> None:
        with history.transaction() as cursor:
            tables.write(cursor, {CHANGES: [change_record(change("ann", 1), 0)]})
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert rows(history, "FROM changes") == rows(history, "FROM moves") == []


def test_a_null_state_deletes_the_customer_from_the_survey_too(history: History) -> None:
    with history.transaction() as cursor:
        for name in ("ann", "bob"):
            cursor.execute(
                "INSERT INTO surveyed_customers BY NAME SELECT ? AS customer_id,"
                " true AS may_be_profiled, 2 AS purchases, 500 AS cents, 0 AS unknown_features,"
                " TIMESTAMP '1970-01-01' AS counts_from",
                [name],
            )
            cursor.execute("INSERT INTO surveyed_purchases VALUES (?, 'a', 'tea', 2, 500)", [name])
    write(history, state_record("ann", 5, 1), state_record("bob", 4, 2, state("bob", 4)))
    for table in ("surveyed_customers", "surveyed_purchases"):
        assert rows(history, f"SELECT customer_id FROM {table}") == [("bob",)]


def test_many_threads_open_cursors_at_the_same_time(history: History) -> None:
    def read(_: int) -> list[Any]:
        return rows(history, "SELECT count(*) FROM changes")

    with ThreadPoolExecutor(8) as threads:
        assert list(threads.map(read, range(400))) == [[(0,)]] * 400
