"""Garbage collection between micro-batches, and as little as possible during them.

A micro-batch creates hundreds of thousands of short-lived objects without references; traversing
them with CPython's default thresholds costs an eighth of the time. But kafka-python leaves
exceptions in cycles with the frames they passed through. A frame references its callers and their
variables, so a micro-batch's records stay in memory until a collection: with thresholds this high
alone, those of ten micro-batches would accumulate.
"""

import gc

ENOUGH = 10_000
"""Net new objects since the last collection that make another one due."""


class GarbageCollection:
    """Explicit garbage collector; objects that exist at its creation are never traversed again."""

    def __init__(self) -> None:
        gc.collect()
        gc.freeze()
        # For work outside the loop: a long recovery, or threads during a micro-batch.
        gc.set_threshold(300_000, 30, 100)

    def collect(self) -> None:
        """Collect the garbage of past micro-batches, if there is enough."""
        if gc.get_count()[0] >= ENOUGH:
            gc.collect()
