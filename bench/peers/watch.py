"""Progress of a peer, and the resources used by all its processes."""

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

TICKS = os.sysconf("SC_CLK_TCK")
PAUSE_SECONDS = 0.1


@dataclass(frozen=True, slots=True)
class Use:
    """Resources used by the processes of a session: CPU seconds so far, bytes of memory now."""

    cpu: float
    memory: int

    @classmethod
    def of(cls, session: int) -> "Use":
        """Measure a session's processes; shared memory counts once."""
        cpu, memory = 0.0, 0
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                # After the name in parentheses: state, ppid, pgrp, session, ...; proc_pid_stat(5).
                fields = (folder / "stat").read_text().rpartition(")")[2].split()
                if int(fields[3]) != session:
                    continue
                cpu += sum(map(int, fields[11:15])) / TICKS  # its own and that of reaped children
                rollup = (folder / "smaps_rollup").read_text().splitlines()
            except (OSError, IndexError):
                continue
            kilobytes = next((line.split()[1] for line in rollup if line.startswith("Pss:")), "0")
            memory += int(kilobytes) * 1024
        return cls(cpu, memory)


@dataclass(frozen=True, slots=True)
class Sample:
    """Progress of a peer at one moment."""

    at: float
    events: int
    use: Use


@dataclass(frozen=True, slots=True)
class Course:
    """Progress of a peer between the first offsets it committed and the last."""

    events: int
    seconds: float
    cpu: float
    memory: int

    @property
    def rate(self) -> float:
        """Events per second."""
        return self.events / self.seconds

    @property
    def cpu_a_million(self) -> float:
        """CPU seconds per million events."""
        return self.cpu / self.events * 1e6

    @classmethod
    def of(cls, samples: list[Sample]) -> "Course":
        """Measure from the first to the last of at least two samples.

        Raises
        ------
        ValueError
            If there are fewer: work before the first sample is not timed.
        """
        if len(samples) < 2:
            raise ValueError("it committed offsets once only: too few events to time it")
        first, last = samples[0], samples[-1]
        return cls(
            last.events - first.events,
            last.at - first.at,
            last.use.cpu - first.use.cpu,
            max(sample.use.memory for sample in samples),
        )


def watch(
    committed: Callable[[], int],
    use: Callable[[], Use],
    alive: Callable[[], bool],
    events: int,
    seconds: float,
    start_seconds: float = 300.0,
) -> list[Sample]:
    """Return a sample for each advance of the committed offsets.

    Parameters
    ----------
    committed
        Returns the number of events whose offsets are committed.
    use, alive
        Resources and liveness of the peer's processes.
    events
        Number of events in the topic.
    seconds
        Time limit, counted from the first sample.
    start_seconds
        Time limit for the first sample.

    Raises
    ------
    RuntimeError
        If the peer exits or does not start in time.
    """
    samples: list[Sample] = []
    until = time.monotonic() + start_seconds
    while not samples or (samples[-1].events < events and time.monotonic() < until):
        if not alive():
            raise RuntimeError("it ended before it was done")
        if not samples and time.monotonic() > until:
            raise RuntimeError(f"it committed nothing in {start_seconds:.0f} s")
        done = committed()
        if done > (samples[-1].events if samples else 0):
            if not samples:
                until = time.monotonic() + seconds
            samples.append(Sample(time.monotonic(), done, use()))
        time.sleep(PAUSE_SECONDS)
    return samples
