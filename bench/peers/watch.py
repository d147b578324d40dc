"""How far a peer has come, and what all its processes have used until then."""

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

TICKS = os.sysconf("SC_CLK_TCK")
PAUSE_SECONDS = 0.1


@dataclass(frozen=True, slots=True)
class Use:
    """What the processes of a session use: CPU seconds so far, bytes of memory now."""

    cpu: float
    memory: int

    @classmethod
    def of(cls, session: int) -> "Use":
        """Look at a session's processes: memory that several share counts once."""
        cpu, memory = 0.0, 0
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                # After the name in parentheses: state, ppid, pgrp, session, ...; proc_pid_stat(5).
                fields = (folder / "stat").read_text().rpartition(")")[2].split()
                if int(fields[3]) != session:
                    continue
                cpu += sum(map(int, fields[11:15])) / TICKS  # its own, and of children it waited on
                rollup = (folder / "smaps_rollup").read_text().splitlines()
            except (OSError, IndexError):
                continue
            kilobytes = next((line.split()[1] for line in rollup if line.startswith("Pss:")), "0")
            memory += int(kilobytes) * 1024
        return cls(cpu, memory)


@dataclass(frozen=True, slots=True)
class Sample:
    """Where a peer was at a moment."""

    at: float
    events: int
    use: Use


@dataclass(frozen=True, slots=True)
class Course:
    """What a peer did from the first offsets it committed to the last."""

    events: int
    seconds: float
    cpu: float
    memory: int

    @property
    def rate(self) -> float:
        """Events a second."""
        return self.events / self.seconds

    @property
    def cpu_a_million(self) -> float:
        """CPU seconds a million events."""
        return self.cpu / self.events * 1e6

    @classmethod
    def of(cls, samples: list[Sample]) -> "Course":
        """Take the whole between the first and the last of at least two samples.

        Raises
        ------
        ValueError
            If there are fewer: what came before the first is not timed.
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
        Events whose offsets are committed.
    use, alive
        Of the peer's processes.
    events
        How many there are.
    seconds
        After how long from the first sample to stop, done or not.
    start_seconds
        Within which the first sample must come.

    Raises
    ------
    RuntimeError
        If the peer ends, or does not begin.
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
