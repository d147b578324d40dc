"""Bounds of the outbox, checked at every commit and every transaction."""

from collections.abc import Mapping, Sequence

from livesegments.contracts.cloudevents import read_provenance
from livesegments.store.outbox import Entry
from tests.simulation.logs import Message

Line = tuple[str, int] | None
"""Nonce and version of an entry's first output: unique per entry."""


class Outbox:
    """Sizes of outboxes and transactions, and violations of the bounds.

    Parameters
    ----------
    most_bytes
        Bound of a transaction, unless a single version exceeds it.
    """

    def __init__(self, most_bytes: int) -> None:
        self._most = most_bytes
        self._sizes: dict[Line, int] = {}
        self._inseparable: set[Line] = set()
        self._known: dict[bytes, int] = {}
        self._largest: dict[bytes, int] = {}
        self.faults: list[str] = []

    def committed(self, key: bytes, outbox: Mapping[bytes, bytes]) -> None:
        """Check the outbox of a partition after a commit.

        One transaction may be open and another may wait; a micro-batch adds a version and possibly
        a definition; a version may be larger than a transaction.
        """
        sizes = [self._size(int(version), data) for version, data in outbox.items()]
        largest = self._largest[key] = max(self._largest.get(key, 0), *sizes, 0)
        if sum(sizes) > 2 * self._most + 3 * largest:
            self.faults.append(f"outbox: {key.decode()} has {len(sizes)} versions, {sum(sizes)} B")

    def _size(self, version: int, data: bytes) -> int:
        if data not in self._known:
            entry = Entry.from_bytes(version, data)
            self._known[data] = entry.size
            if entry.outputs:
                line = read_provenance(entry.outputs[0].headers)
                self._sizes[line] = entry.size
                if entry.offsets is None:
                    self._inseparable.add(line)
        return self._known[data]

    def published(self, records: Sequence[Message]) -> None:
        """Check the records of a transaction."""
        versions = {read_provenance(headers) for _, _, headers in records} - {None}
        size = sum(self._sizes.get(version, 0) for version in versions)
        if len(versions) > 1 and size > self._most and not versions & self._inseparable:
            self.faults.append(f"transaction: {len(versions)} versions, {size} B")
