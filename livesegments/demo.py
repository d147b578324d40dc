"""`livesegments demo`: the whole service on this machine, on a year of real grocery purchases.

What runs is what runs in production: a broker, a store, the worker in a process of its own, a
replay of the purchases, and, in this process, a subscriber of the output topics. Only broker and
store are small ones that come as Python packages. All of it is gone when the demo ends.
"""

from __future__ import annotations

import signal
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import FrameType

from rich.console import Console

from livesegments.demo_picture import SEGMENTS, Picture, Step, segment_rows
from livesegments.demo_plain import PlainView
from livesegments.demo_stage import DATA, DemoError, Stage
from livesegments.demo_summary import Outcome, summary
from livesegments.demo_view import LiveView
from livesegments.embedded import ServerError
from livesegments.signals import ending_signals

SCRAPE_SECONDS = 0.5
READY_SECONDS = 60.0
DRAIN_SECONDS = 30.0
# The worker counts its clusters anew every two seconds.
SETTLED_SECONDS = 2.5
_PLAIN_WIDTH = 100

_SERVERS = "embedded broker and store, topics"
_GROUPS = "worker and subscriber in their groups"
_REPLAY = "the first purchases"


def run_demo(*, plain: bool = False, seconds: float = 40.0, data: Path | None = None) -> int:
    """Run the demo, show it, and sum it up.

    Parameters
    ----------
    plain
        Print lines rather than draw a screen, as is done anyway where there is no terminal.
    seconds
        How long the year takes.
    data
        Folder with ``purchases.csv`` and ``profiles.csv`` to send in place of the year.

    Returns
    -------
    The exit code: 0 when everything sent was folded and all checks hold, 1 when not or when
    something could not start, 128 and the signal's number when a signal ended it.
    """
    console = Console()
    if plain or console.is_dumb_terminal or not console.is_terminal or console.encoding != "utf-8":
        console = Console(color_system=None, force_terminal=False, width=_PLAIN_WIDTH)
        view: PlainView | LiveView = PlainView(console)
    else:
        view = LiveView(console)
    try:
        with _signals_end_it(), tempfile.TemporaryDirectory(prefix="livesegments-demo-") as folder:
            with ExitStack() as stack, view:
                demo = Demo(view, Stage(Path(folder), stack), seconds, data)
                outcome = demo.run()
            view.summarize(summary(outcome, demo.stage.seen))
            return 0 if outcome.good else 1
    except _Ended as ended:
        Console(stderr=True).print(f"ended by {ended.signal.name}", highlight=False)
        return 128 + ended.signal
    except (DemoError, ServerError) as error:
        Console(stderr=True).print(
            f"livesegments demo: {error}", highlight=False, markup=False, soft_wrap=True
        )
        return 1


class Demo:
    """The run: get ready, stream the year, wait for the last of it.

    Parameters
    ----------
    view
        Where it is shown.
    stage
        What runs.
    seconds, data
        As in `run_demo`.
    """

    def __init__(
        self, view: PlainView | LiveView, stage: Stage, seconds: float, data: Path | None
    ) -> None:
        self.stage = stage
        self._view, self._seconds, self._data = view, seconds, data
        self._start = time.monotonic()
        self._steps: dict[str, Step] = {}
        self._began: dict[str, float] = {}
        self._total: int | None = None
        self._first_change: float | None = None
        self._streaming_since: float | None = None
        self._scrape_at = 0.0
        self._rates: list[tuple[float, int]] = []

    def run(self) -> Outcome:
        """Run it to its end."""
        sent = self._get_ready()
        self._stream()
        streamed = self._drain(sent)
        return Outcome(
            picture=self._picture(),
            sent=sent,
            first_change=self._first_change,
            streamed=streamed,
            checks=self.stage.seen.checks(),
        )

    def _get_ready(self) -> int:
        """Start everything; return the number of events that will be sent."""
        stage = self.stage
        self._begin(DATA)
        if self._data is None:
            stage.write_data()
        self._begin(_SERVERS)
        stage.start_servers()
        self._done(_SERVERS)
        self._begin(_GROUPS)
        stage.start_worker()
        stage.subscribe()
        waiting: dict[str, Callable[[], bool]] = {
            DATA: lambda: self._data is not None or stage.data_written,
            _GROUPS: lambda: stage.subscribed and stage.ready,
        }
        purchases = profiles = 0
        while waiting:
            self._tick()
            if time.monotonic() - self._start > READY_SECONDS:
                raise DemoError(f"not ready after {READY_SECONDS:.0f} s: {', '.join(waiting)}")
            for name in [name for name, is_done in waiting.items() if is_done()]:
                del waiting[name]
                if name == DATA:
                    purchases, profiles = stage.count(self._data)
                    self._total = purchases
                    self._done(DATA, f"{purchases:,} purchases, {profiles:,} profiles")
                else:
                    self._done(name)
        return purchases + profiles

    def _stream(self) -> None:
        self._begin(_REPLAY)
        self.stage.start_replay(self._data, self._seconds)
        while not self.stage.all_sent:
            self._tick()
            if self._streaming_since is None and self.stage.metrics.purchases:
                self._streaming_since = time.monotonic()
                self._done(_REPLAY)

    def _drain(self, sent: int) -> float:
        """Wait until all is folded and all that came of it is read; return the seconds it took."""
        began = self._streaming_since or time.monotonic()
        folded_at = None
        settled: tuple[int, ...] = ()
        settled_at = time.monotonic()
        stop_at = settled_at + DRAIN_SECONDS
        while time.monotonic() < stop_at:
            self._tick()
            metrics, seen = self.stage.metrics, self.stage.seen
            if folded_at is None and metrics.purchases + metrics.profiles >= sent:
                folded_at = time.monotonic()
            read = len(seen.changes), seen.states, *(d.size for d in seen.definitions.values())
            if read != settled:
                settled, settled_at = read, time.monotonic()
            if (
                folded_at
                and not metrics.lag
                and len(seen.changes) == seen.states == metrics.changes
                and {s: d.size for s, d in seen.definitions.items()} == metrics.clusters
                and seen.definitions
                and time.monotonic() - settled_at > SETTLED_SECONDS
            ):
                break
        return (folded_at or time.monotonic()) - began

    def _begin(self, name: str) -> None:
        self._steps[name] = Step(name)
        self._began[name] = time.monotonic()
        self._show()

    def _done(self, name: str, detail: str = "") -> None:
        self._steps[name] = Step(name, detail, time.monotonic() - self._began[name])
        self._show()

    def _tick(self) -> None:
        """Take in what is new, for about a tenth of a second, and show it."""
        stage, now = self.stage, time.monotonic()
        stage.poll(0.1)
        if now >= self._scrape_at:
            self._scrape_at = now + SCRAPE_SECONDS
            stage.scrape()
            self._rates = [*self._rates[-6:], (now, stage.metrics.purchases)]
        if self._first_change is None and stage.seen.changes:
            self._first_change = time.monotonic() - self._start
        self._show()

    def _show(self) -> None:
        self._view.show(self._picture())

    def _picture(self) -> Picture:
        seen, metrics = self.stage.seen, self.stage.metrics
        rate = None
        if len(self._rates) > 1:
            (since, before), (now, after) = self._rates[0], self._rates[-1]
            rate = (after - before) / (now - since)
        return Picture(
            elapsed=time.monotonic() - self._start,
            steps=tuple(self._steps.values()),
            purchases=metrics.purchases,
            total=self._total,
            rate=rate,
            event_time=seen.event_time,
            segments=segment_rows(seen, metrics),
            assigned=sum(seen.sizes[segment] for segment in SEGMENTS),
            unassigned=seen.sizes[None],
            changes=len(seen.changes),
            recent=seen.changes[:-61:-1],
            metrics=metrics,
        )


class _Ended(BaseException):
    def __init__(self, signum: int) -> None:
        self.signal = signal.Signals(signum)


@contextmanager
def _signals_end_it() -> Iterator[None]:
    """Turn the signals that end a program into an exception, so that everything is cleaned up."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    signals = ending_signals(signal.SIGHUP)

    def end(signum: int, _: FrameType | None) -> None:
        # Cleaning up takes a few seconds at most, and a second Ctrl-C must not cut it short.
        for each in signals:
            signal.signal(each, signal.SIG_IGN)
        raise _Ended(signum)

    before = {each: signal.signal(each, end) for each in signals}
    try:
        yield
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)
