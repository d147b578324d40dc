"""Changes as server-sent events, from a log in memory that all clients read.

A client has no queue but a place in the log, so that hundreds of slow readers take no more memory
than one. Who falls behind the log is disconnected, and resumes from Kafka after the last event that
it has, by ``Last-Event-ID``. An event may come twice then: the versions of a customer rise.
"""

import asyncio
import threading
from collections import deque
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, replace
from http import HTTPStatus
from typing import Any

from anyio import to_thread
from kafka import TopicPartition
from kafka.errors import KafkaError, OffsetOutOfRangeError

from livesegments.consumers.log_reader import LogReader
from livesegments.contracts.segments import encode
from livesegments.contracts.topics import CHANGES
from livesegments.history.announcer import Announcer
from livesegments.history.database import History
from livesegments.history.follower import Committed
from livesegments.history.tables import version_of
from livesegments.serve.problems import ProblemError, unavailable

KEPT = 10_000
"""Events in memory, 12 MB."""
BURST = 200
"""Events sent at once."""
MOST_STREAMS = 1_000
MOST_RESUMING = 4
"""Clients for which Kafka is read at the same time; others wait."""
ALIVE_SECONDS = 15.0
STALL_SECONDS = 10.0
BEGIN, ALIVE = b"retry: 2000\n: changes of segments\n\n", b": alive\n\n"


@dataclass(frozen=True, slots=True)
class Position:
    """Next offset of each partition of the change log: the id of the event before.

    ``topic`` is digits that change when the topic is created again.

    Examples
    --------
    >>> str(Position("5c", (3, 0)).after(1, 7)), Position.parse("5c-3.8")
    ('5c-3.8', Position(topic='5c', offsets=(3, 8)))
    """

    topic: str
    offsets: tuple[int, ...]

    def __str__(self) -> str:
        return f"{self.topic or 0}-{'.'.join(map(str, self.offsets))}"

    @classmethod
    def parse(cls, text: str) -> "Position":
        """Return the position that a text stands for; raises `ValueError` if it is not one."""
        topic, _, offsets = text.partition("-")
        numbers = offsets.split(".")
        if not all(each.isascii() and each.isdigit() and len(each) < 20 for each in numbers):
            raise ValueError("not the id of an event of this stream")
        return cls("" if topic == "0" else topic, tuple(map(int, numbers)))

    def after(self, partition: int, offset: int) -> "Position":
        """Return the position after a record."""
        at = self.offsets
        return replace(self, offsets=(*at[:partition], offset + 1, *at[partition + 1 :]))

    def reaches(self, other: "Position") -> bool:
        """Return whether no partition is before another position."""
        pairs = zip(self.offsets, other.offsets, strict=True)
        return all(mine >= its for mine, its in pairs)


@dataclass(frozen=True, slots=True)
class Event:
    """Event of a record of the change log, or of a null state, which has no ``version``.

    The offset of a null is that of the next change of its partition: all changes of its customer
    before it are below, and any after a return are not. The frame of a change is empty once its
    customer is forgotten.
    """

    partition: int
    offset: int
    key: bytes
    version: int | None
    frame: bytes


class ChangeLog:
    """The newest events; any thread may add, coroutines read."""

    def __init__(self, kept: int = KEPT) -> None:
        self._kept = kept
        self._lock = threading.Lock()
        self._announcer = Announcer()
        self._events: deque[Event] = deque()
        self._first = 0
        self._start: Position | None = None
        self.end: Position | None = None
        """Position after all events; None before the history was read."""
        self.closed = False

    def begin(self, end: Position) -> None:
        """Forget all events: the next one is after a position."""
        with self._lock:
            self._first += len(self._events) + 1  # no client's place is valid any more
            self._events.clear()
            self._start = self.end = end
        self._announcer.announce()

    def add(self, committed: Committed, end: Position) -> None:
        """Add the records of a commit, up to a position."""
        if self.end is None or self.end.topic != end.topic:
            self.begin(end)
            return
        with self._lock:
            at = self.end
            for record in committed.changes:
                if record.offset >= at.offsets[record.partition]:  # not read again by a rebuild
                    at = at.after(record.partition, record.offset)
                    frame, version = change_frame(at, record.value), version_of(record)
                    self._append(Event(record.partition, record.offset, record.key, version, frame))
            if committed.nulls:
                self._forget({record.key: record for record in committed.nulls}, at)
            self.end = end
        self._announcer.announce()

    def close(self) -> None:
        """End all streams."""
        self.closed = True
        self._announcer.announce()

    def place(self, position: Position) -> int | None:
        """Return the number of the first event after a position, None if the log begins later."""
        with self._lock:
            if self._start is None or not position.reaches(self._start):
                return None
            return self._first

    @property
    def start(self) -> Position | None:
        """Position before the oldest event."""
        return self._start

    def read(self, number: int, position: Position) -> tuple[list[bytes], int]:
        """Return frames of events from a number on that are after a position; the next number.

        Raises
        ------
        LookupError
            If the log begins later.
        """
        with self._lock:
            at = number - self._first
            if at < 0:
                raise LookupError
            events = [self._events[i] for i in range(at, min(at + BURST, len(self._events)))]
        frames = [
            event.frame for event in events if event.offset >= position.offsets[event.partition]
        ]
        return frames, number + len(events)

    async def wait(self, number: int, seconds: float) -> None:
        """Wait until there is an event with this number, up to some seconds."""
        await self._announcer.wait(
            lambda: self.closed or self._first + len(self._events) > number, seconds
        )

    def _append(self, event: Event) -> None:
        self._events.append(event)
        if len(self._events) > self._kept:
            gone = self._events.popleft()
            self._first += 1
            if self._start is not None and gone.version is not None:
                self._start = self._start.after(gone.partition, gone.offset)

    def _forget(self, nulls: dict[bytes, Any], at: Position) -> None:
        """Empty the changes before each null, and tell it: before the customer's return, or now."""
        versions = {key: version_of(record) for key, record in nulls.items()}
        for i, event in enumerate(self._events):
            if event.version is None or event.key not in versions:
                continue
            if event.version <= versions[event.key]:
                self._events[i] = replace(event, frame=b"")
            elif nulls.pop(event.key, None) is not None:
                frame = forgotten_frame(None, event.key) + event.frame
                self._events[i] = replace(event, frame=frame)
        for key, record in nulls.items():
            number = record.partition
            frame = forgotten_frame(at, key)
            self._append(Event(number, at.offsets[number], key, None, frame))


class Backlog:
    """Changes older than the log, read from Kafka without those of forgotten customers."""

    def __init__(self, config: Mapping[str, Any], history: History) -> None:
        self._config, self._history = config, history
        self._turns = asyncio.Semaphore(MOST_RESUMING)

    async def read(self, at: Position, until: Position) -> tuple[list[bytes], Position]:
        """Return the next frames after a position, and the position after them.

        Raises
        ------
        ProblemError
            If the topic no longer has them, or Kafka is away.
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
    """Streams of the change log, so many at most; the backlog reads older events."""

    def __init__(self, log: ChangeLog, backlog: Backlog) -> None:
        self._log, self._backlog = log, backlog
        self.streams = 0
        """Open streams."""

    async def open(self, last_event_id: str) -> AsyncIterator[bytes]:
        """Return the bytes of a stream from after an event on; from now on without one.

        Raises
        ------
        ProblemError
            If this stream has no such event, or it cannot be opened now.
        """
        position = self._begin(last_event_id)
        if self.streams >= MOST_STREAMS:
            raise unavailable(f"{MOST_STREAMS} streams are open already")
        frames, position = await self._before(position)
        return self._follow(frames, position)

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

    async def _follow(self, frames: Sequence[bytes], position: Position) -> AsyncIterator[bytes]:
        self.streams += 1
        try:
            yield BEGIN
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
        finally:
            self.streams -= 1


def change_frame(position: Position, value: bytes | None) -> bytes:
    """Return the event of a change; ``value`` is the record's."""
    lines = b"\ndata: ".join((value or b"").splitlines())
    return b"id: %b\nevent: change\ndata: %b\n\n" % (str(position).encode(), lines)


def forgotten_frame(position: Position | None, key: bytes) -> bytes:
    """Return the event that says that nothing is kept of a customer any more.

    Without a position, a client keeps the id of the event before.
    """
    data = encode({"customer_id": key.decode(errors="replace")})
    at = b"" if position is None else b"id: %b\n" % str(position).encode()
    return b"%bevent: forgotten\ndata: %b\n\n" % (at, data)
