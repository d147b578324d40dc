"""A history that follows the topics of Apache Kafka."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from kafka import KafkaProducer, TopicPartition
from kafka.admin import KafkaAdminClient

from livesegments.contracts.segments import SegmentChange, SegmentState, encode
from livesegments.contracts.topics import CHANGES, STATES
from livesegments.history.database import History, HistoryError
from livesegments.history.follower import MOST_AWAY_SECONDS, Committed, Follower
from tests.livesegments.history.made import A, B, change, headers, state
from tests.servers import KafkaServer, fresh_topics

pytestmark = pytest.mark.servers


class Topics:
    """Writes transactions as the service does."""

    def __init__(self, kafka: KafkaServer) -> None:
        self.config = {"bootstrap_servers": kafka.bootstrap}
        self._producer = KafkaProducer(**self.config, transactional_id="history-test")
        self._producer.init_transactions()

    def write(
        self, *told: SegmentChange | SegmentState | tuple[str, int], commit: bool = True
    ) -> None:
        """Write changes, states, and nulls (customer, version) in one transaction."""
        self._producer.begin_transaction()
        for each in told:
            topic = CHANGES if isinstance(each, SegmentChange) else STATES
            name, version = each if isinstance(each, tuple) else (each.customer_id, each.version)
            value = None if isinstance(each, tuple) else encode(each)
            self._producer.send(
                topic, value, key=name.encode(), headers=headers(version), partition=1
            )
        self._producer.commit_transaction() if commit else self._producer.abort_transaction()

    def close(self) -> None:
        """Close the connection."""
        self._producer.close()


@pytest.fixture
def topics(fresh_kafka: KafkaServer) -> Iterator[Topics]:
    made = Topics(fresh_kafka)
    yield made
    made.close()


@contextmanager
def opened(folder: Path) -> Iterator[History]:
    history = History(folder / "history.duckdb")
    yield history
    history.close()


def catch_up(topics: Topics, history: History, group: str = "group") -> None:
    Follower(topics.config, group, history).catch_up()


def rows(history: History, query: str) -> list[Any]:
    with history.cursor() as cursor:
        return cursor.execute(query).fetchall()


def versions(history: History) -> list[Any]:
    return [each for (each,) in rows(history, "SELECT version FROM changes ORDER BY 1")]


def until(holds: Callable[[], bool], seconds: float = 20.0) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_it_goes_on_where_it_ended_and_reads_committed_records_only(
    topics: Topics, tmp_path: Path
) -> None:
    topics.write(change("ann", 1), state("ann", 1))
    topics.write(change("bob", 2), state("bob", 2), commit=False)
    with opened(tmp_path) as history:
        catch_up(topics, history)
        assert versions(history) == [1]
        catch_up(topics, history)
        assert versions(history) == [1]
    topics.write(change("bob", 3), state("bob", 3))
    with opened(tmp_path) as history:
        catch_up(topics, history)
        assert versions(history) == [1, 3]
        assert rows(history, "SELECT sum(changes) FROM moves") == [(2,)]
        assert rows(history, "SELECT customer_id FROM customers ORDER BY 1") == [("ann",), ("bob",)]


def test_an_erasure_reaches_it_while_it_follows_and_is_told(topics: Topics, tmp_path: Path) -> None:
    told: list[Committed] = []
    stopping = threading.Event()
    with opened(tmp_path) as history:
        follower = Follower(topics.config, "group", history, committed=told.append)
        thread = threading.Thread(target=follower.follow, args=(stopping,))
        thread.start()
        until(lambda: follower.ready)
        topics.write(change("ann", 1), state("ann", 1), change("bob", 1), state("bob", 1))
        until(lambda: versions(history) == [1, 1])
        topics.write(change("ann", 2, A, None, origin="erasure"), ("ann", 2))
        until(lambda: versions(history) == [1])
        stopping.set()
        thread.join()
        assert rows(history, "SELECT customer_id FROM changes") == [("bob",)]
        assert rows(history, "SELECT customer_id FROM customers") == [("bob",)]
    assert [each.key for commit in told for each in commit.changes] == [b"ann", b"bob", b"ann"]
    assert [each.key for commit in told for each in commit.nulls] == [b"ann"]
    assert told[-1].positions[1] > 0


def test_changes_that_the_topic_deletes_go_while_it_follows(
    topics: Topics, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("livesegments.history.follower.EXPIRY_SECONDS", 0.1)
    stopping = threading.Event()
    with opened(tmp_path) as history, KafkaAdminClient(**topics.config) as admin:
        follower = Follower(topics.config, "group", history)
        thread = threading.Thread(target=follower.follow, args=(stopping,))
        thread.start()
        topics.write(change("ann", 1), state("ann", 1))
        topics.write(change("bob", 2), state("bob", 2))
        until(lambda: versions(history) == [1, 2])
        admin.delete_records({TopicPartition(CHANGES, 1): 1})
        until(lambda: versions(history) == [2])
        stopping.set()
        thread.join()


def test_what_came_while_nobody_followed_is_told_after_where_it_went_on(
    topics: Topics, tmp_path: Path
) -> None:
    told: list[Committed] = []
    topics.write(change("ann", 1), state("ann", 1))
    with opened(tmp_path) as history:
        catch_up(topics, history)
    topics.write(("ann", 2))
    with opened(tmp_path) as history:
        Follower(topics.config, "group", history, committed=told.append).catch_up()
    first, *rest = told
    assert (len(first.changes), len(first.nulls), sum(first.positions.values()) > 0) == (0, 0, True)
    assert [each.key for commit in rest for each in commit.nulls] == [b"ann"]


def test_a_null_deletes_changes_that_are_read_after_it(topics: Topics, tmp_path: Path) -> None:
    with opened(tmp_path) as history:
        catch_up(topics, history)

        class Behind(Follower):
            """Has not read the newest changes when it reads the states."""

            def _ranges(self, reader: Any, topic: str, tps: Any) -> Any:
                if topic == CHANGES:
                    return {tp: (self._next[tp], self._next[tp]) for tp in tps}
                return super()._ranges(reader, topic, tps)

        topics.write(change("ann", 1), state("ann", 1), change("bob", 1), state("bob", 1))
        topics.write(change("ann", 2, A, None, origin="erasure"), ("ann", 2))
        Behind(topics.config, "group", history).catch_up()
        catch_up(topics, history)
        assert rows(history, "SELECT customer_id FROM changes") == [("bob",)]
        assert rows(history, "SELECT sum(changes) FROM moves") == [(3,)]


def test_an_erasure_holds_after_a_rebuild_once_compaction_removed_the_null(
    topics: Topics, tmp_path: Path
) -> None:
    # The changes stay for the retention of their topic, while of the states nothing is left.
    topics.write(change("ann", 1), change("ann", 2, A, B), change("bob", 3), state("bob", 3))
    with opened(tmp_path) as history:
        catch_up(topics, history)
        assert rows(history, "SELECT customer_id FROM changes") == [("bob",)]


@pytest.mark.parametrize("why", ["group", "topics", "schema", "away", "missing"])
def test_it_is_filled_again(
    why: str, topics: Topics, kafka: KafkaServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    topics.write(change("ann", 1), state("ann", 1))
    with opened(tmp_path) as history:
        catch_up(topics, history)
        with history.transaction() as cursor:
            cursor.execute("UPDATE changes SET version = 77")
    group = "group"
    if why == "group":
        group = "another"
    elif why == "topics":
        topics.close()
        fresh_topics(kafka.bootstrap)
        topics = Topics(kafka)
        topics.write(change("ann", 1), state("ann", 1))
    elif why == "schema":
        monkeypatch.setattr("livesegments.history.database.SCHEMA", 0)
    elif why == "away":
        now_s = time.time()
        monkeypatch.setattr(time, "time", lambda: now_s + MOST_AWAY_SECONDS + 1)
    else:
        (tmp_path / "history.duckdb").unlink()
    with opened(tmp_path) as history:
        catch_up(topics, history, group)
        assert versions(history) == [1]
    topics.close()


def test_a_database_of_something_else_is_left_alone(tmp_path: Path) -> None:
    import duckdb

    file = tmp_path / "other.duckdb"
    with duckdb.connect(str(file)) as connection:
        connection.execute("CREATE TABLE mine AS SELECT 1")
    with pytest.raises(HistoryError, match="something else"):
        History(file)
    text = tmp_path / "notes.txt"
    text.write_text("no database, but a text that somebody needs")
    with pytest.raises(HistoryError, match="cannot be opened"):
        History(text)
    assert text.read_text().startswith("no database")
