"""State of one partition in memory, in place of Redis."""

from collections.abc import Mapping, Sequence

import numpy as np

from livesegments.store.checkpoint import Checkpoint
from livesegments.store.partitions import Commit, Partitions, ReadRequest, ReadResult


class InMemoryPartitions(Partitions):
    """The part of a store that batches and samples need."""

    def __init__(self) -> None:
        self.records: dict[str, bytes] = {}
        self.checkpoint = Checkpoint(nonce="0" * 16)
        self._walk: list[str] = []

    def read(self, wants: Sequence[ReadRequest]) -> list[ReadResult]:
        """Read records; no customer is ever erased here."""
        return [self._read(want) for want in wants]

    def _read(self, want: ReadRequest) -> ReadResult:
        records = [self.records.get(name) for name in want.customers]
        if want.scan is None:
            return ReadResult(records, [], None, {})
        start, count = want.scan
        if start == 0:
            self._walk = list(self.records)
        end = start + count
        scanned = {n: self.records[n] for n in self._walk[start:end] if n in self.records}
        return ReadResult(records, [], end if end < len(self._walk) else 0, scanned)

    def commit(self, commits: Sequence[Commit]) -> list[bool]:
        """Apply commits: there is no other owner."""
        for commit in commits:
            self.checkpoint = commit.checkpoint
            self.records.update(commit.records)
            for name in commit.gone:
                self.records.pop(name, None)
        return [True] * len(commits)

    def sizes(self, partitions: Sequence[int]) -> list[int]:
        """Return the number of customers."""
        return [len(self.records) for _ in partitions]

    def sample(self, wanted: Mapping[int, int]) -> dict[int, tuple[Checkpoint, list[bytes]]]:
        """Return random records, the same for the same history."""
        blobs = list(self.records.values())
        return {
            partition: (self.checkpoint, _choose(blobs, count, seed=self.checkpoint.version))
            for partition, count in wanted.items()
        }


def _choose(blobs: list[bytes], count: int, seed: int) -> list[bytes]:
    if count >= len(blobs):
        return blobs
    rows = np.random.default_rng(seed).choice(len(blobs), count, replace=False)
    return [blobs[row] for row in rows.tolist()]
