"""Categories bought by each customer, 16 bytes per customer."""

import numpy as np
from numpy.typing import NDArray

from livesegments.features.dedup import Hashes, hashes_of

MOST = 64
"""Categories kept per customer: the first ones read."""
_PENDING = 500_000

Masks = NDArray[np.uint64]


class PurchasedCategories:
    """A set of up to 64 categories for each customer, by a hash of the id.

    Examples
    --------
    >>> import numpy as np
    >>> bought = PurchasedCategories()
    >>> bought.add(["a", "b", "a"], np.array([0, 3, 1]))
    >>> bought.masks(["a", "b", "c"]).tolist()
    [3, 8, 0]
    """

    def __init__(self) -> None:
        self._hashes: Hashes = np.empty(0, np.uint64)
        self._masks: Masks = np.empty(0, np.uint64)
        self._new: list[tuple[Hashes, Masks]] = []
        self._pending = 0

    def add(self, names: list[str], category: NDArray[np.int64]) -> None:
        """Record that customers (n,) bought categories (n,), by their numbers."""
        kept = category < MOST
        masks = np.left_shift(np.uint64(1), category[kept].astype(np.uint64))
        self._new.append((hashes_of(names)[kept], masks))
        self._pending += len(masks)
        if self._pending > _PENDING:
            self._merge()

    def masks(self, names: list[str]) -> Masks:
        """Return the purchased categories of customers (n,), one bit each."""
        self._merge()
        hashes = hashes_of(names)
        if not len(self._hashes):
            return np.zeros(len(names), np.uint64)
        at = np.minimum(self._hashes.searchsorted(hashes), len(self._hashes) - 1)
        return np.where(self._hashes[at] == hashes, self._masks[at], np.uint64(0))

    def _merge(self) -> None:
        if not self._new:
            return
        hashes = np.concatenate([self._hashes, *(new for new, _ in self._new)])
        masks = np.concatenate([self._masks, *(new for _, new in self._new)])
        order = hashes.argsort(kind="stable")
        self._hashes, first = np.unique(hashes[order], return_index=True)
        self._masks = np.bitwise_or.reduceat(masks[order], first) if len(first) else masks
        self._new, self._pending = [], 0
