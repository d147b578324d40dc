"""Deduplication of purchases over a window of recent event ids.

At-least-once producers may send an event again with the same ``event_id``. An accepted purchase is
a duplicate if one with its id and its content (customer, time, amount, kind) is among the ``size``
accepted purchases before it in its partition. This depends on the log alone, so a replay finds the
same duplicates. A purchase with the id of another one is not a duplicate: an order number is no
event id, and the refund of an order counts.

Each purchase is kept as a fingerprint of 8 bytes, 48 bits of its id's SipHash-2-4 hash and 16 of
its content's: in the store as a ring, with the n-th purchase in slot ``n % size``; in memory as
sorted runs of doubling size, to look up a whole batch at once. Two purchases with one id and
different content have the same fingerprint with a probability of 1 in 65,536.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

Hashes = NDArray[np.uint64]
Int = NDArray[np.int64]
Flags = NDArray[np.bool_]

CONTENT_BITS = np.uint64(16)
_CONTENT = np.uint64(0xFFFF)
_WIDTH, _HALF = np.uint64(64), np.uint64(32)

# Stored hashes come from `pandas.util.hash_array`: same key, same final mixing.
_KEY = np.frombuffer(b"0123456789123456", "<u8")
_START = (
    _KEY[0] ^ np.uint64(0x736F6D6570736575),
    _KEY[1] ^ np.uint64(0x646F72616E646F6D),
    _KEY[0] ^ np.uint64(0x6C7967656E657261),
    _KEY[1] ^ np.uint64(0x7465646279746573),
)


def hashes_of(event_ids: Sequence[str]) -> Hashes:
    """Return the hash of each id, (n,), identical in every process."""
    texts = np.array([each.encode() for each in event_ids], object)
    lengths = np.fromiter(map(len, texts), np.uint64, len(texts))
    words = (lengths // 8).astype(np.intp) + 1
    hashes = np.empty(len(texts), np.uint64)
    for count in set(words.tolist()):
        rows = np.flatnonzero(words == count)
        blocks = texts[rows].astype(f"S{8 * count}").view("<u8").reshape(-1, count)
        blocks[:, -1] |= lengths[rows] << np.uint64(56)
        hashes[rows] = _mixed(_siphash(blocks))
    return hashes


def fingerprints(
    ids: Hashes, customers: NDArray[np.uint32], occurred_at: Int, cents: Int, count: Int
) -> Hashes:
    """Return the fingerprint of each purchase, (n,).

    Parameters
    ----------
    ids
        (n,) hashes of the event ids.
    customers
        (n,) hashes of the record keys, as partitioners compute them.
    occurred_at, cents, count
        (n,) columns of the purchases.
    """
    content = _mixed(occurred_at.astype(np.uint64))
    content ^= customers
    content += count.astype(np.uint64) << np.uint64(32)
    content = _mixed(content)
    content ^= cents.astype(np.uint64)
    return (ids & ~_CONTENT) | (_mixed(content) >> (np.uint64(64) - CONTENT_BITS))


def _siphash(blocks: Hashes) -> Hashes:
    """Return the SipHash-2-4 of each row of padded blocks, (n, words)."""
    state = np.repeat(np.array(_START)[:, None], len(blocks), axis=1)
    for block in blocks.T:
        state[3] ^= block
        _rounds(state, 2)
        state[0] ^= block
    state[2] ^= np.uint64(0xFF)
    _rounds(state, 4)
    hashes: Hashes = np.bitwise_xor.reduce(state)
    return hashes


_HALVES = (
    (slice(1, 4, 2), np.array([[13], [16]], np.uint64), 0),
    (slice(3, None, -2), np.array([[21], [17]], np.uint64), 2),
)
"""Of each half of a round: the words added to the first and the third one, the bits that they are
rotated by, and the sum that is rotated by half its width."""


def _rounds(state: Hashes, times: int) -> None:
    sums = state[::2]
    for words, bits, rotated in times * _HALVES:
        added = state[words]
        sums += added
        added[:] = (added << bits | added >> (_WIDTH - bits)) ^ sums
        state[rotated] = state[rotated] << _HALF | state[rotated] >> _HALF


def _mixed(values: Hashes) -> Hashes:
    values ^= values >> np.uint64(30)
    values *= np.uint64(0xBF58476D1CE4E5B9)
    values ^= values >> np.uint64(27)
    values *= np.uint64(0x94D049BB133111EB)
    values ^= values >> np.uint64(31)
    return values


_BYTES = 8


@dataclass(frozen=True, slots=True)
class Run:
    """Sorted fingerprints and the sequence number of each; equal ones in sequence order."""

    hashes: Hashes
    places: Int

    def find(self, hashes: Hashes) -> tuple[Int, Flags]:
        """Look up fingerprints, (n,).

        Returns the last sequence number of each, -1 if absent, and a mask of those whose id is
        there with other content.
        """
        after = self.hashes.searchsorted(hashes, side="right")
        at = after - 1
        before, behind = self.hashes[at], self.hashes[np.minimum(after, len(self.hashes) - 1)]
        found = (at >= 0) & (before == hashes)
        # What has the same id is next to it. Compared with itself it differs in nothing.
        others = ((before ^ hashes) - np.uint64(1) < _CONTENT) | (
            (behind ^ hashes) - np.uint64(1) < _CONTENT
        )
        return np.where(found, self.places[at], -1), others

    def merged(self, later: "Run", first: int) -> "Run":
        """Return both runs merged, without sequence numbers below ``first``."""
        places = np.concatenate([self.places, later.places])
        hashes = np.concatenate([self.hashes, later.hashes])
        # Stable, so the later of equal hashes stays last; and linear on sorted parts.
        order = hashes.argsort(kind="stable")
        order = order[places[order] >= first]
        return Run(hashes[order], places[order])


@dataclass(frozen=True, slots=True)
class DedupWindow:
    """The last purchases of one partition.

    Attributes
    ----------
    size
        Number of purchases remembered.
    count
        Number of purchases so far.
    runs
        Remembered fingerprints, older and larger runs first.

    Examples
    --------
    >>> from livesegments.features.dedup import hashes_of
    >>> seen = DedupWindow(size=2)
    >>> seen, repeated, _ = seen.after(hashes_of(["a", "b", "a"]))
    >>> repeated.tolist()
    [False, False, True]
    >>> seen, repeated, _ = seen.after(hashes_of(["b", "a", "b"]))
    >>> repeated.tolist()
    [True, True, True]
    >>> seen.after(hashes_of(["c", "d", "b"]))[1].tolist()
    [False, False, False]
    """

    size: int
    count: int = 0
    runs: tuple[Run, ...] = ()

    @classmethod
    def from_ring(cls, size: int, count: int, ring: bytes) -> Self:
        """Return the window restored from a stored ring."""
        # A ring that is not full has not wrapped and begins with the oldest.
        oldest = count % size if count > size else 0
        hashes = np.roll(np.frombuffer(ring, "<u8"), -oldest)
        order = hashes.argsort(kind="stable")
        run = Run(hashes[order], count - len(hashes) + order)
        return cls(size, count, (run,) if len(hashes) else ())

    def after(self, hashes: Hashes) -> tuple["DedupWindow", Flags, Flags]:
        """Return the window after more purchases, and masks, (n,), of duplicates and conflicts.

        A conflict has the id of an earlier purchase with other content, which is in the window or
        left it a short while ago.
        """
        if not len(hashes):
            return self, np.zeros(0, np.bool_), np.zeros(0, np.bool_)
        order = hashes.argsort(kind="stable")
        run = Run(hashes[order], self.count + order)
        last = np.full(len(hashes), -1, np.int64)
        again = np.flatnonzero(run.hashes[1:] == run.hashes[:-1])
        last[again + 1] = run.places[again]
        conflicting = _conflict_within(run)
        for earlier in self.runs:
            places, others = earlier.find(run.hashes)
            np.maximum(last, places, out=last)
            conflicting |= others
        repeated = np.empty(len(hashes), np.bool_)
        repeated[order] = (last >= 0) & (last >= run.places - self.size)
        conflicts = np.empty(len(hashes), np.bool_)
        conflicts[order] = conflicting
        count = self.count + len(hashes)
        window = DedupWindow(self.size, count, _merge((*self.runs, run), count - self.size))
        return window, repeated, conflicts & ~repeated

    def ring_writes(self, hashes: Hashes) -> list[tuple[int, bytes]]:
        """Return the writes to the stored ring for the last purchases: (byte offset, bytes)."""
        hashes = hashes[-self.size :]
        start = (self.count - len(hashes)) % self.size
        before_the_end = hashes[: self.size - start]
        parts = [(0, hashes[len(before_the_end) :]), (start, before_the_end)]
        return [(at * _BYTES, part.astype("<u8").tobytes()) for at, part in parts if len(part)]


class DedupUpdate(NamedTuple):
    """A partition's dedup window after a batch, and the writes to the stored ring."""

    seen: DedupWindow
    ring: list[tuple[int, bytes]]


def _conflict_within(run: Run) -> Flags:
    """Return which purchases, (n,), have the id of an earlier one of the run and other content."""
    ids = run.hashes >> CONTENT_BITS
    if not np.any(ids[1:] == ids[:-1]):
        return np.zeros(len(ids), np.bool_)
    return _first_places(run.hashes, run.places) > _first_places(ids, run.places)


def _first_places(values: Hashes, places: Int) -> Int:
    """Return the lowest sequence number of each sorted value, (n,)."""
    starts = np.flatnonzero(np.append(True, values[1:] != values[:-1]))
    lowest = np.minimum.reduceat(places, starts)
    return np.repeat(lowest, np.diff(starts, append=len(values)))


def _merge(runs: tuple[Run, ...], first: int) -> tuple[Run, ...]:
    """Merge the last runs until each is at most half as large as the one before."""
    while len(runs) > 1 and 2 * len(runs[-1].hashes) > len(runs[-2].hashes):
        runs = (*runs[:-2], runs[-2].merged(runs[-1], first))
    return runs
