"""Profile of a worker: timings of its stages, then of its functions under cProfile.

Two workers process the same topic. The first is only timed, so its shares are those of the service.
The second runs each stage of its main thread under a separate profile; the work of kafka-python's
own threads shows there only as waiting.
"""

import cProfile
import multiprocessing
import os
import pstats
import signal
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, TypeAlias
from unittest.mock import patch

from pydantic import SecretStr

from bench.report import Table
from bench.throughput import EVENTS, GROUP, PARTITIONS, produce, wait_for_worker
from livesegments.app import run as run_worker
from livesegments.config.logs import configure
from livesegments.config.settings import Settings
from livesegments.consumers.instrumentation import Instrumentation
from tests.servers import KafkaServer, RedisServer, fresh_topics

STAGES = ("poll", "decode", "read", "assign", "commit", "publish")
TOP = 25

Calls: TypeAlias = dict[tuple[str, str], tuple[int, float, float]]
"""(stage, function) -> calls, own seconds, cumulative seconds."""


@dataclass(frozen=True, slots=True)
class Span:
    """One run through a stage: seconds of wall time, of thread CPU and of process CPU."""

    stage: str
    began: float
    wall: float
    thread: float
    process: float


class Stopwatch:
    """Replaces the worker's stage timer; the worker's own metric is still recorded."""

    def __init__(self, profiled: bool) -> None:
        self.spans: list[Span] = []
        self.profiles = {stage: cProfile.Profile() for stage in STAGES}
        self._profiled = profiled
        self._timed = Instrumentation.stage

    @contextmanager
    def stage(self, observation: Instrumentation, stage: str) -> Iterator[None]:
        """Time a stage."""
        profile = self.profiles[stage]
        before = (time.perf_counter(), time.thread_time(), time.process_time())
        if self._profiled:
            profile.enable()
        try:
            with self._timed(observation, stage):
                yield
        finally:
            profile.disable()
            after = (time.perf_counter(), time.thread_time(), time.process_time())
            wall, thread, process = (b - a for a, b in zip(before, after, strict=True))
            self.spans.append(Span(stage, before[0], wall, thread, process))

    def calls(self) -> Calls:
        """Return the profile of each stage."""
        found: Calls = {}
        for stage, profile in self.profiles.items():
            profile.create_stats()
            entries: dict[Any, Any] = pstats.Stats(profile).stats if profile.stats else {}  # type: ignore[attr-defined]
            for function, (_, calls, own, cumulative, _callers) in entries.items():
                found[stage, _label(*function)] = (calls, own, cumulative)
        return found


def _label(file: str, line: int, name: str) -> str:
    if file == "~":
        return name
    path = Path(file)
    parts = path.parts
    top = next((i + 1 for i, part in enumerate(parts) if part == "site-packages"), None)
    if top is not None:
        return f"{'/'.join(parts[top:])}:{line} {name}"
    here = Path(__file__).resolve().parents[1]
    return f"{path.relative_to(here) if path.is_relative_to(here) else path.name}:{line} {name}"


def _work(settings: Settings, profiled: bool, out: Connection) -> None:
    """Run a worker until SIGTERM, then send the measurements back."""
    configure(settings)
    watch = Stopwatch(profiled)
    with patch.object(Instrumentation, "stage", lambda self, stage: watch.stage(self, stage)):
        run_worker(settings)
    out.send((watch.spans, watch.calls() if profiled else {}))


def _watched(kafka: KafkaServer, store: RedisServer, profiled: bool) -> tuple[list[Span], Calls]:
    settings = Settings(
        kafka_bootstrap_servers=kafka.bootstrap,
        redis_url=SecretStr(store.url),
        group_id=GROUP,
        clock="event",
        http_port=0,
        log_level="warning",
    )
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe(duplex=False)
    worker = context.Process(target=_work, args=(settings, profiled, there))
    worker.start()
    there.close()
    assert worker.pid is not None
    try:
        wait_for_worker(kafka, store, worker.is_alive)
        os.kill(worker.pid, signal.SIGTERM)
        found: tuple[list[Span], Calls] = here.recv()
    finally:
        worker.join(10)
        worker.kill()
        worker.join()
    return found


def while_busy(spans: Sequence[Span]) -> list[Span]:
    """Return the spans from the first batch's poll to the last transaction, without idle polls."""
    first = next(i for i, span in enumerate(spans) if span.stage == "decode")
    last = max(i for i, span in enumerate(spans) if span.stage == "publish")
    return list(spans[max(0, first - 1) : last + 1])


def stage_table(spans: Sequence[Span], events: int) -> Table:
    """Return the share of each stage; the time between stages is a row of its own."""
    table = Table(
        f"Profile: a worker's time over {events:,} events, µs an event",
        ("", "wall", "share", "CPU of its thread", "CPU of other threads", "times"),
    )
    total = spans[-1].began + spans[-1].wall - spans[0].began
    of_stage: dict[str, list[Span]] = defaultdict(list)
    for span in spans:
        of_stage[span.stage].append(span)

    def row(name: str, wall: float, *rest: str) -> None:
        table.add(name, f"{wall / events * 1e6:.2f}", f"{wall / total:.0%}", *rest)

    for stage in STAGES:
        found = of_stage[stage]
        thread = sum(span.thread for span in found)
        others = sum(span.process for span in found) - thread
        row(
            stage,
            sum(span.wall for span in found),
            f"{thread / events * 1e6:.2f}",
            f"{others / events * 1e6:.2f}",
            f"{len(found)}",
        )
    row("between stages", total - sum(span.wall for span in spans), "", "", "")
    row("all", total, "", "", "")
    return table


def function_table(calls: Calls, events: int, top: int = TOP) -> Table:
    """Return the most expensive functions by stage, by own time or by cumulative time."""
    by_own = sorted(calls, key=lambda each: -calls[each][1])[:top]
    by_cumulative = sorted(calls, key=lambda each: -calls[each][2])[:top]
    table = Table(
        f"Profile: the {top} functions with most time of their own and the {top} with most in all,"
        " µs an event",
        ("", "own", "with what it calls", "calls an event"),
    )
    for stage in STAGES:
        named = {each for each in by_own + by_cumulative if each[0] == stage}
        for each in sorted(named, key=lambda each: -calls[each][2]):
            n, own, cumulative = calls[each]
            table.add(
                f"{stage:8}{each[1]}",
                f"{own / events * 1e6:.2f}",
                f"{cumulative / events * 1e6:.2f}",
                f"{n / events:.3f}",
            )
    table.note("under cProfile, which makes small functions look dearer than they are")
    return table


def run(events: int = EVENTS) -> Table:
    """Run a worker twice over the same purchases; return its stages, then its functions."""
    with tempfile.TemporaryDirectory() as folder:
        where = Path(folder)
        with (
            KafkaServer(where / "kafka", measured=True) as kafka,
            RedisServer(where / "redis") as store,
        ):
            found = []
            for profiled in (False, True):
                fresh_topics(kafka.bootstrap, PARTITIONS)
                produce(kafka.bootstrap, events)
                store.flush()
                found.append(_watched(kafka, store, profiled))
    (spans, _), (_, calls) = found
    table = stage_table(while_busy(spans), events)
    table.more.append(function_table(calls, events))
    return table
