"""Start-up: the wait for the help, for a worker and for the demo's first change."""

import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from resource import RUSAGE_CHILDREN, getrusage
from statistics import median

from bench.report import Table
from bench.throughput import PARTITIONS
from bench.workers import environment, started, wait
from tests.servers import KafkaServer, RedisServer, fresh_topics

RUNS = 3
COMMAND = [sys.executable, "-m", "livesegments.cli"]


def help_shown() -> float:
    """Run ``livesegments --help``; return the seconds it took."""
    began = time.monotonic()
    subprocess.run([*COMMAND, "--help"], check=True, stdout=subprocess.DEVNULL)
    return time.monotonic() - began


def worker_owns(settings: dict[str, str], log: Path) -> float:
    """Start a worker; return the seconds until it owns its partitions."""
    with log.open("wb") as out:
        began = time.monotonic()
        with started(1, settings, out.fileno()):
            wait(lambda: "owns partitions" in log.read_text(), "partitions are owned", 0.01)
            return time.monotonic() - began


def demo_changes() -> float:
    """Run the demo; return the seconds until its first change."""
    done = subprocess.run(
        [*COMMAND, "demo", "--plain"], check=True, stdout=subprocess.PIPE, text=True
    )
    [said] = re.findall(r"First change ([\d.]+) s after the start", done.stdout)
    return float(said)


def measured(start: Callable[[], float], runs: int) -> tuple[str, str]:
    """Return the medians of the seconds of wall time, and of the CPU time until the end."""
    seconds, cpu = [], []
    for _ in range(runs):
        before = getrusage(RUSAGE_CHILDREN)
        seconds.append(start())
        after = getrusage(RUSAGE_CHILDREN)
        cpu.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    return f"{median(seconds):.2f}", f"{median(cpu):.2f}"


def run(runs: int = RUNS) -> Table:
    """Start each several times."""
    table = Table(f"Start-up: medians of {runs}", ("", "seconds", "CPU seconds"))
    table.add("livesegments --help", *measured(help_shown, runs))
    with tempfile.TemporaryDirectory() as folder:
        where = Path(folder)
        with KafkaServer(where / "kafka") as kafka, RedisServer(where / "redis") as store:
            fresh_topics(kafka.bootstrap, PARTITIONS)
            settings = environment(kafka, store, LIVESEGMENTS_LOG_LEVEL="info")
            worker = measured(lambda: worker_owns(settings, where / "worker.log"), runs)
    table.add("a worker owns its partitions", *worker)
    table.add("the demo's first change (one run)", *measured(demo_changes, 1))
    table.note("CPU of all processes to their end: of the demo, its whole year")
    return table
