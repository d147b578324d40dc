"""Collect garbage between rounds, and as little as may be within them.

A round makes hundreds of thousands of short-lived objects that refer to nothing: to look at them at
CPython's usual pace costs an eighth of the time. But kafka-python leaves exceptions in cycles with
the frames they passed, a frame keeps its callers' and their variables, and so a round's records
stay until garbage is collected: those of ten rounds, were it left to so wide a threshold.
"""

import gc

ENOUGH = 10_000
"""Objects more than after the last collection: one is due."""


class GarbageCollection:
    """Collects when it is told to; what is there when it is made is never looked at again."""

    def __init__(self) -> None:
        gc.collect()
        gc.freeze()
        # For what comes without rounds: a long recovery, or threads while a round waits.
        gc.set_threshold(300_000, 30, 100)

    def collect(self) -> None:
        """Collect what rounds have left behind, if it is enough."""
        if gc.get_count()[0] >= ENOUGH:
            gc.collect()
