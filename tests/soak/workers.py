"""The processes of a worker."""

import os
import signal
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from tests.processes import Process


@dataclass(slots=True)
class Place:
    """A slot for a worker: when one exits, the next one starts in it."""

    name: str
    worker: Process
    log: Path
    wake_at: float | None = None

    @property
    def owns(self) -> bool:
        """True when the worker has taken partitions over."""
        return b"owns partitions" in self.log.read_bytes()


def send(signum: signal.Signals, pid: int) -> None:
    """Signal a process if it exists; a negative number signals a whole group."""
    with suppress(ProcessLookupError):
        os.kill(pid, signum)


def publishers(worker: int) -> list[int]:
    """Return a worker's publisher process, if it exists."""
    with suppress(OSError):
        children = Path(f"/proc/{worker}/task/{worker}/children").read_text().split()
        commands = {int(pid): Path(f"/proc/{pid}/cmdline").read_bytes() for pid in children}
        return [pid for pid, command in commands.items() if b"resource_tracker" not in command]
    return []
