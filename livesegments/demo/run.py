"""The run of the demo: start everything, stream the year, check and sum up."""

import os
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

from rich.console import Console
from rich.live import Live

from livesegments.config import PREFIX
from livesegments.demo import GROUPS_FILE, LIVE_FROM, PROFILES_FILE, PURCHASES_FILE
from livesegments.local_servers import (
    LOOPBACK,
    Child,
    ServerError,
    accepts_connections,
    embedded_broker,
    embedded_store,
    free_ports,
)
from livesegments.signals import ending_signals

if TYPE_CHECKING:
    from livesegments.demo.summary import Progress

PARTITIONS = 4
PAGES_PORT = 8080
WORKER = ("livesegments.cli", "run")
_SETTINGS = {
    "CLOCK": "event",
    # Four fifths of the households, present by February: clusters fitted to the one or two
    # purchases of a year's first days get names that soon stop to suit.
    "WARMUP_CUSTOMERS": "2000",
    "DEFINITIONS_SECONDS": "2",
    # The embedded broker lets a group's members wait for half of this.
    "SESSION_TIMEOUT_SECONDS": "2",
    "HTTP_HOST": LOOPBACK,
    "HTTP_PORT": "0",
    "LOG_FORMAT": "json",
}
_YEAR_SECONDS = 365 * 86_400
_SETTLED_SECONDS, _STUCK_SECONDS, _LINE_SECONDS = 2.5, 30.0, 2.0
_ASCII = str.maketrans({"━": "#", "→": "->"})


def run_demo(
    *,
    plain: bool = False,
    stay: bool = False,
    people: bool = False,
    seconds: float = 40.0,
    data: Path | None = None,
) -> bool:
    """Run the demo, show it, and sum it up.

    Parameters
    ----------
    plain
        Print lines instead of drawing a screen, as without a terminal.
    stay
        Keep servers, worker and pages up after the summary, until a signal.
    people
        Send the year of made people instead of the grocer's households, and say how many are in the
        segment of their group.
    seconds
        Wall time of the year.
    data
        Folder with ``purchases.parquet`` and ``profiles.parquet`` to send instead of the year;
        for people also ``groups.parquet``.

    Returns
    -------
    Whether all events sent were processed and the outputs agree.

    Raises
    ------
    ServerError
        If something could not start, or ended early.
    SystemExit
        If a signal ended it: 128 plus the signal's number.
    """
    console = Console()
    screen = console.is_terminal and not console.is_dumb_terminal and console.encoding == "utf-8"
    if plain or not screen:
        screen, console = False, Console(color_system=None, force_terminal=False, width=100)
    with _signals_exit(), ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="livesegments-")))
        return _Demo(console, screen, folder, stack).run(data, seconds, stay, people)


class _Demo:
    def __init__(self, console: Console, screen: bool, folder: Path, stack: ExitStack) -> None:
        self._console, self._screen, self._folder, self._stack = console, screen, folder, stack
        self._began_s = time.time()
        self._pages: Child | None = None

    def run(self, data: Path | None, seconds: float, stay: bool, people: bool) -> bool:
        writer = None if data else self._make_people() if people else self._write_data()
        self._say("embedded broker and store, topics, worker")
        worker = self._start_service()
        while writer and not writer.succeeded():
            time.sleep(0.02)
        where = data or self._folder
        files = where / PURCHASES_FILE, where / PROFILES_FILE
        speed = f"{_YEAR_SECONDS / seconds:.0f}"
        options = ("--profiles", str(files[1]), "--speed", speed, "--speed-from", f"{LIVE_FROM:%F}")
        replay = self._start("the replay", "livesegments.cli", "replay", str(files[0]), *options)
        # While worker and replay start, for these imports take their time too.
        from livesegments.config.settings import load
        from livesegments.demo import summary

        settings, sent = load(), summary.rows(*files)
        self._say(f"streaming {sent[0]:,} purchases and {sent[1]:,} profiles, January at once")
        self._say(f"from the first change on, pages at http://localhost:{settings.serve_port}/")
        groups = where / GROUPS_FILE if people else None
        progress = summary.Progress(settings, PARTITIONS, self._began_s, groups)
        # Earlier, the watch would call it a fault.
        while not worker.succeeded() and not progress.has_worker:
            time.sleep(0.05)
        with progress.watch:
            self._show(progress, worker, replay, sent)
        if not stay:
            worker.stop()
        self._say("reading the topics\n")
        for part in progress.summarize(sent):
            with self._console.capture() as drawn:
                self._console.print(part, soft_wrap=isinstance(part, str), highlight=False)
            text = drawn.get() if self._screen else drawn.get().translate(_ASCII)
            self._console.out(text, end="", highlight=False)
        if stay:
            pages = self._pages or self._start_pages()
            pages.wait_for(settings.serve_port)
            self._say(
                f"\nThe servers and the pages at http://localhost:{settings.serve_port}/ stay until"
                " Ctrl-C. For commands in another terminal:\n"
                f"export {PREFIX}KAFKA_BOOTSTRAP_SERVERS={settings.kafka_bootstrap_servers}"
                f" {PREFIX}REDIS_URL={settings.redis_url.get_secret_value()}"
                f" {PREFIX}CLOCK={settings.clock}\n"
                # For a batch of records it names the first one's offset as the last.
                "livesegments verify needs Apache Kafka: the embedded broker does not say where its"
                " topics end."
            )
            while not worker.succeeded():
                time.sleep(0.5)
            raise ServerError("the worker ended")
        return progress.good

    def _say(self, text: str) -> None:
        self._console.out(f"{time.time() - self._began_s:5.1f} s  {text}", highlight=False)

    def _start(self, name: str, *command: str) -> Child:
        started = Child(name, [sys.executable, "-m", *command], self._folder)
        self._stack.callback(started.stop)
        return started

    def _write_data(self) -> Child:
        self._say("Complete Journey grocery data")
        return self._start("the data", "livesegments.demo.dataset", str(self._folder))

    def _make_people(self) -> Child:
        self._say("people in the words of the personas, with age, income and location")
        return self._start("the people", "livesegments.demo.people", str(self._folder))

    def _start_pages(self) -> Child:
        return self._start("the pages", "livesegments.cli", "serve")

    def _start_service(self) -> Child:
        environment = dict(os.environ)
        self._stack.callback(os.environ.update, environment)
        # Settings of a real deployment must not reach in.
        for name in environment:
            if name.startswith(PREFIX):
                del os.environ[name]
        kafka = self._stack.enter_context(embedded_broker(self._folder))
        store = self._stack.enter_context(embedded_store(self._folder))
        settings = {**_SETTINGS, "KAFKA_BOOTSTRAP_SERVERS": kafka, "REDIS_URL": store}
        settings["SERVE_DATA"] = str(self._folder / "history.duckdb")
        if accepts_connections(PAGES_PORT):
            settings["SERVE_PORT"] = str(free_ports(1)[0])
        for name, value in settings.items():
            os.environ[PREFIX + name] = value
            self._stack.callback(os.environ.pop, PREFIX + name)

        from livesegments.contracts.topics import RETENTION_DAYS
        from livesegments.operations.topics import create_topics

        create_topics(
            {"bootstrap_servers": kafka, "client_id": "livesegments-demo"},
            partitions=PARTITIONS,
            replication_factor=1,
            retention_days=RETENTION_DAYS,
        )
        return self._start("the worker", *WORKER)

    def _show(
        self, progress: "Progress", worker: Child, replay: Child, sent: tuple[int, int]
    ) -> None:
        live = Live(console=self._console, screen=True, auto_refresh=False)
        line_s = 0.0
        with live if self._screen else nullcontext():
            while not replay.succeeded() or progress.idle_seconds < (
                _SETTLED_SECONDS if progress.processed == sent else _STUCK_SECONDS
            ):
                if worker.succeeded():
                    raise ServerError("the worker ended")
                progress.update()
                # Only now: it takes seconds of a core from what makes the first change.
                if self._pages is None and progress.changed:
                    self._pages = self._start_pages()
                if self._screen:
                    live.update(progress, refresh=True)
                elif time.time() - line_s > _LINE_SECONDS:
                    self._say(progress.line())
                    line_s = time.time()
                time.sleep(0.2)


@contextmanager
def _signals_exit() -> Iterator[None]:
    """Turn the signals that end a program into an exception, so that everything is cleaned up."""
    signals = ending_signals(signal.SIGHUP)

    def end(signum: int, _: FrameType | None) -> None:
        # Cleaning up takes a few seconds at most, and a second Ctrl-C must not cut it short.
        for each in signals:
            signal.signal(each, signal.SIG_IGN)
        raise SystemExit(128 + signum)

    before = {each: signal.signal(each, end) for each in signals}
    try:
        yield
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)
