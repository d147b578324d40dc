"""The processes of a worker."""

import os
import signal
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from tests.processes import Process


@dataclass(slots=True)
class Place:
    """Where a worker runs: one ends, the next begins."""

    name: str
    worker: Process
    log: Path
    wake_at: float | None = None

    @property
    def owns(self) -> bool:
        """Whether the worker has taken partitions over."""
        return b"owns partitions" in self.log.read_bytes()


def send(signum: signal.Signals, pid: int) -> None:
    """Signal a process if it is there; with a negative number, the whole group of one."""
    with suppress(ProcessLookupError):
        os.kill(pid, signum)


def publishers(worker: int) -> list[int]:
    """Return the process that publishes for a worker, if it is there."""
    with suppress(OSError):
        children = Path(f"/proc/{worker}/task/{worker}/children").read_text().split()
        commands = {int(pid): Path(f"/proc/{pid}/cmdline").read_bytes() for pid in children}
        return [pid for pid, command in commands.items() if b"spawn_main" in command]
    return []
