"""The newest changes as server-sent events, in memory."""

import threading
from collections import deque
from dataclasses import dataclass, replace
from typing import Any

from livesegments.contracts.segments import encode
from livesegments.history.announcer import Announcer
from livesegments.history.follower import Committed
from livesegments.history.tables import version_of

KEPT = 10_000
"""Events in memory, 12 MB."""
BURST = 200
"""Events sent at once."""


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

        Raises `LookupError` if the log begins later.
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
