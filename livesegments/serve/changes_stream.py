"""Changes as server-sent events, from a log in memory that all clients read.

A client has no queue but a place in the log, so that hundreds of slow readers take no more memory
than one. Who falls behind the log is disconnected, and resumes from Kafka after the last event that
it has, by ``Last-Event-ID``. An event may come twice then: the versions of a customer rise.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from http import HTTPStatus
from typing import Any

from anyio import to_thread
from kafka import TopicPartition
from kafka.errors import KafkaError, OffsetOutOfRangeError

from livesegments.consumers.log_reader import LogReader
from livesegments.contracts.topics import CHANGES
from livesegments.history.database import History
from livesegments.serve.change_log import (
    BURST,
    ChangeLog,
    Position,
    change_frame,
    forgotten_frame,
)
from livesegments.serve.problems import ProblemError, unavailable

MOST_RESUMING = 4
"""Clients for which Kafka is read at the same time; others wait."""
ALIVE_SECONDS = 15.0
STALL_SECONDS = 10.0
BEGIN, ALIVE = b"retry: 2000\n: changes of segments\nid: %b\n\n", b": alive\n\n"
"""The id is that of the event before: a client that gets none resumes after it."""


class Backlog:
    """Changes older than the log, read from Kafka without those of forgotten customers."""

    def __init__(self, config: Mapping[str, Any], history: History) -> None:
        self._config, self._history = config, history
        self._turns = asyncio.Semaphore(MOST_RESUMING)

    async def read(self, at: Position, until: Position) -> tuple[list[bytes], Position]:
        """Return the next frames after a position, and the position after them.

        Raises `ProblemError` if the topic no longer has them, or Kafka is away.
        """
        async with self._turns:
            return await to_thread.run_sync(self._read, at, until)

    def _read(self, at: Position, until: Position) -> tuple[list[bytes], Position]:
        behind = {
            TopicPartition(CHANGES, number): (mine, its)
            for number, (mine, its) in enumerate(zip(at.offsets, until.offsets, strict=True))
            if mine < its
        }
        tp, (start, end) = next(iter(behind.items()))
        partition, end = tp.partition, min(end, start + BURST)
        records: list[Any] = []
        try:
            with LogReader(self._config, STALL_SECONDS) as log:
                starts = log.starts(list(behind))
                if any(mine < starts[each] for each, (mine, _) in behind.items()):
                    raise OffsetOutOfRangeError
                for batch in log.read({tp: (start, end)}):
                    records += batch[tp]
        except OffsetOutOfRangeError:
            raise ProblemError(
                HTTPStatus.GONE,
                "the changes after this event are deleted: read all segments again, then connect"
                " without Last-Event-ID",
            ) from None
        except (KafkaError, TimeoutError):
            raise unavailable("Kafka is away") from None
        with self._history.cursor() as cursor:
            found = cursor.execute(
                'SELECT "offset" FROM changes'
                ' WHERE "partition" = ? AND "offset" >= ? AND "offset" < ?',
                [partition, start, end],
            ).fetchall()
        kept = {offset for (offset,) in found}
        frames = []
        for record in records:
            at = at.after(partition, record.offset)
            is_kept = record.offset in kept
            frames.append(
                change_frame(at, record.value) if is_kept else forgotten_frame(at, record.key)
            )
        return frames, at.after(partition, end - 1)


class ChangesStream:
    """Streams of the change log; the backlog reads older events."""

    def __init__(self, log: ChangeLog, backlog: Backlog) -> None:
        self._log, self._backlog = log, backlog

    async def open(self, last_event_id: str) -> AsyncIterator[bytes]:
        """Return the bytes of a stream from after an event on; from now on without one.

        Raises `ProblemError` if this stream has no such event, or it cannot be opened now.
        """
        position = self._begin(last_event_id)
        frames, after = await self._before(position)
        return self._follow(BEGIN % str(position).encode(), frames, after)

    def _begin(self, last_event_id: str) -> Position:
        end = self._log.end
        if end is None:
            raise unavailable("the history is being read")
        if not last_event_id:
            return end
        try:
            position = Position.parse(last_event_id)
        except ValueError as error:
            raise ProblemError(HTTPStatus.BAD_REQUEST, f"Last-Event-ID: {error}") from None
        known = position.topic == end.topic and len(position.offsets) == len(end.offsets)
        if not known or not end.reaches(position):
            raise ProblemError(
                HTTPStatus.GONE,
                "Last-Event-ID is of topics that were since created again: read all segments again,"
                " then connect without it",
            )
        return position

    async def _before(self, position: Position) -> tuple[list[bytes], Position]:
        """Return the next frames that the log no longer has, none if it has all."""
        start = self._log.start
        if start is None or position.reaches(start):
            return [], position
        return await self._backlog.read(position, start)

    async def _follow(
        self, begin: bytes, frames: Sequence[bytes], position: Position
    ) -> AsyncIterator[bytes]:
        try:
            yield begin
            while (number := self._log.place(position)) is None:
                yield b"".join(frames)
                frames, position = await self._before(position)
            yield b"".join(frames)
            while not self._log.closed:
                found, after = self._log.read(number, position)
                if after == number:
                    await self._log.wait(number, ALIVE_SECONDS)
                    found, after = self._log.read(number, position)
                yield b"".join(found) if after != number else ALIVE
                number = after
        except (LookupError, ProblemError):
            return  # the client resumes
