"""The DuckDB file of a history: opened, rebuilt when it is another's, and committed to."""

import tempfile
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import duckdb
from kafka import TopicPartition

from livesegments.history.announcer import Announcer

SCHEMA = 3
"""Version of `schema.sql`: a file of another one is filled again."""
MEMORY_MB = 768
THREADS = 2

Row = dict[str, Any]

_TABLES = files("livesegments.history").joinpath("schema.sql").read_text()


class HistoryError(RuntimeError):
    """The file cannot be used; the message says why, and what to do."""


@dataclass(frozen=True, slots=True)
class Identity:
    """Deployment that a history is of.

    ``topics`` are digits that change when a topic is created again; "" if the broker has no topic
    ids.
    """

    group_id: str
    topic_prefix: str
    topics: str


class History:
    """A history in a file, created when missing; one thread writes, any number read.

    Each reader has a cursor of its own.

    Raises `HistoryError` if it cannot be opened, or is no history.
    """

    def __init__(self, file: Path) -> None:
        self._connection = _connect(file)
        self._opening, self._writing = threading.Lock(), threading.Lock()
        self._version = 0
        self._announcer = Announcer()
        found = {name for (name,) in self._connection.execute("SHOW TABLES").fetchall()}
        if found and "following" not in found:
            self._connection.close()
            raise HistoryError(f"{file} is the database of something else: choose another file")
        if not found:  # readers may come before the first fill
            self._connection.execute(_TABLES)

    @classmethod
    @contextmanager
    def temporary(cls) -> "Iterator[History]":
        """Yield a history that is deleted afterwards."""
        with tempfile.TemporaryDirectory(prefix="livesegments-") as folder:
            history = cls(Path(folder) / "history.duckdb")
            try:
                yield history
            finally:
                history.close()

    def close(self) -> None:
        """Close the file; a query of another thread keeps it open until it ends."""
        with self._opening, suppress(duckdb.Error):  # refused while another thread reads
            self._connection.close()

    def cursor(self) -> duckdb.DuckDBPyConnection:
        """Return a cursor for one thread. Each of its statements sees one commit."""
        # A connection that is in another call refuses, and does not wait.
        with self._opening:
            return self._connection.cursor()

    @contextmanager
    def transaction(self) -> Iterator[duckdb.DuckDBPyConnection]:
        """Yield a cursor whose statements commit together, or not at all; one writer at a time."""
        with self._writing, self.cursor() as cursor:
            cursor.execute("BEGIN TRANSACTION")
            try:
                yield cursor
            except BaseException:
                cursor.execute("ROLLBACK")
                raise
            cursor.execute("COMMIT")
            self._version += 1
        self._announcer.announce()

    @property
    def version(self) -> int:
        """Number of commits since it was opened."""
        return self._version

    async def newer(self, version: int, seconds: float) -> int:
        """Return the version once it is above ``version``, or the same after some seconds."""
        await self._announcer.wait(lambda: self._version > version, seconds)
        return self._version

    def continues(self, identity: Identity, least_followed_at_s: float) -> bool:
        """Return whether the file is of a deployment and was followed since a time, epoch seconds.

        A file that was last followed before may have missed deletions.
        """
        wanted, found = _facts(identity), self._following()
        same = {name: found.get(name) for name in wanted} == wanted
        return same and float(found.get("followed_at", 0)) >= least_followed_at_s

    def rebuild(self, identity: Identity) -> None:
        """Empty the file, for a deployment."""
        with self.transaction() as cursor:
            for (name,) in cursor.execute("SHOW TABLES").fetchall():
                cursor.execute(f'DROP TABLE "{name}"')
            cursor.execute(_TABLES)
            follow(cursor, _facts(identity))

    @property
    def filled(self) -> bool:
        """True once the topics were read to their ends since it was empty."""
        return "filled" in self._following()

    def offsets(self) -> dict[TopicPartition, int]:
        """Return the next offset of each partition that was ever read."""
        with self.cursor() as cursor:
            rows = cursor.execute('SELECT topic, "partition", next_offset FROM offsets').fetchall()
        return {TopicPartition(topic, number): offset for topic, number, offset in rows}

    def _following(self) -> dict[str, str]:
        with self.cursor() as cursor:
            if ("following",) not in cursor.execute("SHOW TABLES").fetchall():
                return {}
            return dict(cursor.execute("SELECT name, value FROM following").fetchall())


def _facts(identity: Identity) -> dict[str, str]:
    return {"schema": str(SCHEMA), **asdict(identity)}


def rows(cursor: duckdb.DuckDBPyConnection, sql: str, **values: Any) -> list[Row]:
    """Return the rows of a query by column."""
    result = cursor.execute(sql, values)
    names = [name for name, *_ in result.description]
    return [dict(zip(names, row, strict=True)) for row in result.fetchall()]


def follow(cursor: duckdb.DuckDBPyConnection, facts: Mapping[str, str]) -> None:
    """Write facts about the deployment that the history follows."""
    cursor.execute(
        "INSERT OR REPLACE INTO following SELECT unnest(?), unnest(?)",
        [list(facts), list(facts.values())],
    )


def move(cursor: duckdb.DuckDBPyConnection, offsets: Mapping[TopicPartition, int]) -> None:
    """Write the next offsets of partitions."""
    if offsets:
        topics, numbers = zip(*offsets, strict=True)
        cursor.execute(
            "INSERT OR REPLACE INTO offsets SELECT unnest(?), unnest(?), unnest(?)",
            [list(topics), list(numbers), list(offsets.values())],
        )


def _connect(file: Path) -> duckdb.DuckDBPyConnection:
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        return duckdb.connect(
            str(file),
            config={
                "memory_limit": f"{MEMORY_MB}MB",
                "threads": THREADS,
                "autoinstall_known_extensions": False,
                "autoload_known_extensions": False,
                "python_enable_replacements": False,
            },
        )
    except (OSError, duckdb.Error) as error:
        why = error.strerror if isinstance(error, OSError) else str(error).split("\n", 1)[0]
        raise HistoryError(f"the history {file} cannot be opened: {why}") from None
