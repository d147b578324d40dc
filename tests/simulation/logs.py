"""Topic partitions as on the brokers: records, markers, and the limit of each reader."""

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from kafka import TopicPartition
from kafka.consumer.fetcher import ConsumerRecord
from kafka.structs import OffsetAndMetadata

from tests.consumers.harness import record

LOG_APPEND_TIME = 1
"""As the topics are created: timestamps are LogAppendTime."""

Headers = Sequence[tuple[str, bytes | None]]
Message = tuple[bytes | None, bytes | None, list[tuple[str, bytes]]]


@dataclass(eq=False)
class Transaction:
    """A transaction, from its first record or offset to its last marker."""

    epoch: int
    began_at: float
    state: str = "ongoing"
    unmarked: list["Log | None"] = field(default_factory=list)
    """Logs still without a marker; None stands for the group's offsets."""
    offsets: dict[TopicPartition, OffsetAndMetadata] = field(default_factory=dict)
    records: list[Message] = field(default_factory=list)

    @property
    def complete(self) -> bool:
        """True when it is decided and all its markers are written."""
        return self.state != "ongoing" and not self.unmarked

    def add(self, log: "Log | None") -> None:
        """Add a log, or the group's offsets, to the participants."""
        if log not in self.unmarked:
            self.unmarked.append(log)


@dataclass(frozen=True)
class Entry:
    """Contents of an offset: a record, or a marker (None)."""

    offset: int
    record: ConsumerRecord | None
    transaction: Transaction | None


class Log:
    """One partition of a topic."""

    def __init__(self, tp: TopicPartition) -> None:
        self.tp = tp
        self.entries: list[Entry] = []
        self.deleted: list[Entry] = []
        """What retention has taken, for the judge."""
        self.start = self.end = 0
        self._undecided: dict[Transaction, int] = {}

    def append(
        self,
        key: bytes | None,
        value: bytes | None,
        headers: Headers,
        timestamp_ms: int,
        transaction: Transaction | None = None,
        *,
        timestamp_type: int = LOG_APPEND_TIME,
    ) -> int:
        """Append a record; return its offset."""
        appended = record(
            self.tp.topic,
            self.end,
            key,
            value,
            partition=self.tp.partition,
            timestamp_ms=timestamp_ms,
            timestamp_type=timestamp_type,
            headers=headers,
        )
        if transaction is not None:
            self._undecided.setdefault(transaction, self.end)
            transaction.add(self)
        return self._append(Entry(self.end, appended, transaction))

    def mark(self, transaction: Transaction | None = None) -> None:
        """Append the marker that ends a transaction here, ours or an upstream one."""
        if transaction is not None:
            self._undecided.pop(transaction, None)
        self._append(Entry(self.end, None, transaction))

    def _append(self, entry: Entry) -> int:
        self.entries.append(entry)
        self.end += 1
        return entry.offset

    @property
    def stable_end(self) -> int:
        """The last stable offset: the start of the first undecided transaction."""
        return min(self._undecided.values(), default=self.end)

    def read(
        self, position: int, limit: int, *, committed: bool = True
    ) -> tuple[list[ConsumerRecord], int]:
        """Return up to ``limit`` records from a position, and the position after them.

        Aborted records and markers are skipped, so the position may advance without records.
        """
        end = self.stable_end if committed else self.end
        found: list[ConsumerRecord] = []
        for entry in self.entries[self._index(position) :]:
            if entry.offset >= end or len(found) == limit:
                return found, max(position, min(entry.offset, end))
            aborted = entry.transaction is not None and entry.transaction.state == "abort"
            if entry.record is not None and not (committed and aborted):
                found.append(entry.record)
        return found, max(position, end)

    def delete_before(self, offset: int) -> None:
        """Apply retention: delete the entries before an offset."""
        self.start = max(self.start, min(offset, self.stable_end))
        self.deleted += self.entries[: self._index(self.start)]
        del self.entries[: self._index(self.start)]

    def cut(self, offset: int) -> None:
        """Truncate from an offset on: an unclean leader election, or a lagging replica."""
        self.end = max(self.start, min(offset, self.stable_end))
        del self.entries[self._index(self.end) :]

    @contextmanager
    def whole(self) -> Iterator[None]:
        """Restore the deleted records for the length of a ``with`` block."""
        start, entries = self.start, self.entries
        self.start, self.entries = 0, self.deleted + self.entries
        try:
            yield
        finally:
            self.start, self.entries = start, entries

    def compact(self, upto: int, *, tombstones: bool) -> None:
        """Keep the last record of each key below ``upto``; drop old tombstones as well."""
        settled = [e for e in self.entries if e.offset < min(upto, self.stable_end)]
        last: dict[bytes, int] = {}
        for entry in settled:
            if self._counts(entry):
                assert entry.record is not None
                last[entry.record.key] = entry.offset
        kept = [
            entry
            for entry in settled
            if self._counts(entry)
            and entry.record is not None
            and last[entry.record.key] == entry.offset
            and not (tombstones and entry.record.value is None)
        ]
        self.entries = kept + self.entries[len(settled) :]

    @staticmethod
    def _counts(entry: Entry) -> bool:
        decided = entry.transaction is None or entry.transaction.state == "commit"
        return entry.record is not None and decided

    def _index(self, offset: int) -> int:
        return bisect_left(self.entries, offset, key=lambda entry: entry.offset)
