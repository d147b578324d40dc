"""Clock checks of the doctor: the local clock, the servers' and the partitions'."""

import time
from collections.abc import Callable, Iterator

from livesegments.config.clients import kafka_config, open_store
from livesegments.config.settings import Settings
from livesegments.consumers.clocks import TOLERANCE_US, Clocks, apart, latest
from livesegments.contracts.topics import PURCHASES
from livesegments.operations.doctor.finding import Finding, fail, ok
from livesegments.operations.topics import partition_counts


def look_at_clocks(
    settings: Settings, wall_us: Callable[[], int] = lambda: time.time_ns() // 1_000
) -> Iterator[Finding]:
    """Compare the local clock with the servers', as workers do, and the partitions' with Redis's.

    ``wall_us`` returns the local clock, in microseconds.
    """
    store = open_store(settings)
    config = kafka_config(settings, 5.0)
    partitions = partition_counts(config)[PURCHASES]
    clocks = Clocks(store, config, partitions, wall_us)
    evidence = clocks.evidence()
    wrong = {e.name: e.error_us for e in evidence if abs(e.error_us) > TOLERANCE_US}
    for name, error_us in wrong.items():
        yield fail(
            "clocks",
            f"the clock here is {apart(error_us)} {name}",
            "set the wrong one right (NTP): a worker that is more than 5 minutes off does not work",
        )
    for partition, checkpoint in enumerate(store.checkpoints(range(partitions))):
        ahead_us = checkpoint.clock_us - clocks.shown_us if checkpoint else 0
        if ahead_us > latest(0):
            wrong[f"partition {partition}"] = ahead_us
            yield fail(
                "clocks",
                f"the clock of partition {partition} is {apart(ahead_us)} Redis: purchases of now"
                " do not count",
                "set the clocks of workers and servers right, then: livesegments rebuild",
            )
    if not wrong:
        most = max((abs(each.error_us) for each in evidence), default=0) / 1_000_000
        yield ok("clocks", f"here and at the servers at most {most:.1f} s apart")
