"""The code that one purchase executes: our files and functions, from its arrival to its change.

A worker runs under a profiler hook in all of its threads. Once it is idle, one purchase is sent
that moves its customer to another segment, and the hook records every function that starts within a
second. The publisher's process is not included.
"""

import json
import multiprocessing
import os
import signal
import sys
import tempfile
import threading
import time
from collections import defaultdict
from multiprocessing.connection import Connection
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

from kafka import KafkaConsumer, KafkaProducer
from pydantic import SecretStr

from bench.report import Table
from livesegments.app import run as run_worker
from livesegments.config.logs import configure
from livesegments.config.settings import Settings
from livesegments.contracts.topics import CHANGES
from tests.servers import KafkaServer, RedisServer, fresh_topics
from tests.service import purchase

SECONDS = 1.0
GOAL_FILES, GOAL_FUNCTIONS = 35, 170
ROOT = Path(__file__).resolve().parents[1]
CUSTOMERS = 80

Functions = dict[str, set[str]]
"""File -> functions that ran."""


class Hook:
    """A profiler hook that records function calls while it is enabled."""

    def __init__(self) -> None:
        self.codes: set[CodeType] = set()
        self.on = False

    def __call__(self, frame: FrameType, event: str, _argument: Any) -> None:
        """Record a call."""
        if self.on and event == "call":
            self.codes.add(frame.f_code)

    def functions(self) -> Functions:
        """Return the recorded functions of the repository's own code."""
        found: Functions = defaultdict(set)
        for code in self.codes:
            path = Path(os.path.realpath(code.co_filename))
            ours = path.is_file() and path.is_relative_to(ROOT) and ".venv" not in path.parts
            # From Python 3.12 on, comprehensions are not functions.
            inlined = code.co_name in ("<listcomp>", "<setcomp>", "<dictcomp>", "<genexpr>")
            if ours and not inlined and not path.is_relative_to(ROOT / "bench"):
                found[str(path.relative_to(ROOT))].add(code.co_qualname)
        return dict(found)


def _work(settings: Settings, switch: Connection) -> None:
    """Run a worker; record functions between two messages, then send them back."""
    configure(settings)
    hook = Hook()

    def listen() -> None:
        switch.recv()
        hook.on = True
        switch.recv()
        hook.on = False
        switch.send(hook.functions())

    threading.Thread(target=listen, daemon=True).start()
    threading.setprofile(hook)
    sys.setprofile(hook)
    run_worker(settings)


def trace(kafka: KafkaServer, store: RedisServer) -> Functions:
    """Return the functions called within a second of one purchase that changed a segment."""
    settings = Settings(
        kafka_bootstrap_servers=kafka.bootstrap,
        redis_url=SecretStr(store.url),
        clock="event",
        http_port=0,
        warmup_customers=CUSTOMERS // 2,
        refit="propose",
        log_level="warning",
    )
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    worker = context.Process(target=_work, args=(settings, theirs))
    worker.start()
    changes = KafkaConsumer(
        CHANGES,
        bootstrap_servers=kafka.bootstrap,
        auto_offset_reset="earliest",
        isolation_level="read_committed",
    )
    producer = KafkaProducer(bootstrap_servers=kafka.bootstrap)

    def send(customer: int, day: int, amount: float) -> None:
        name = f"customer-{customer:03d}"
        topic, key, value = purchase(name, f"2024-01-{day:02d}T08:00:00Z", amount)
        producer.send(topic, key=key, value=value)
        producer.flush()

    try:
        for customer in range(CUSTOMERS):
            for day in range(1, 2 + customer % 9):
                send(customer, day, (5.0, 40.0, 90.0, 300.0, 2_000.0)[customer % 5])
        assigned: set[str] = set()
        while len(assigned) < CUSTOMERS:
            assigned |= {json.loads(r.value)["customer_id"] for r in _poll(changes)}
        while _poll(changes):
            pass
        time.sleep(2 * SECONDS)
        ours.send("on")
        send(0, 9, 900.0)
        time.sleep(SECONDS)
        ours.send("off")
        functions: Functions = ours.recv()
        moved = {json.loads(record.value)["customer_id"] for record in _poll(changes)}
        assert "customer-000" in moved, moved
        assert worker.pid is not None
        os.kill(worker.pid, signal.SIGTERM)
    finally:
        worker.join(10)
        worker.kill()
        changes.close()
        producer.close()
    return functions


def _poll(consumer: KafkaConsumer) -> list[Any]:
    return [record for batch in consumer.poll(2_000).values() for record in batch]


def run() -> Table:
    """Trace one purchase; return the files it runs through."""
    with tempfile.TemporaryDirectory() as folder:
        where = Path(folder)
        with KafkaServer(where / "kafka") as kafka, RedisServer(where / "redis") as store:
            fresh_topics(kafka.bootstrap, 4)
            functions = trace(kafka, store)
    total = sum(map(len, functions.values()))
    table = Table("Trace: the code that one purchase runs through in the worker", ("", "functions"))
    for file in sorted(functions):
        table.add(file, str(len(functions[file])))
        table.note(f"{file}: {', '.join(sorted(functions[file]))}")
    table.add(f"all {len(functions)} files", str(total))
    table.goal(f"at most {GOAL_FILES} files", len(functions) <= GOAL_FILES)
    table.goal(f"at most {GOAL_FUNCTIONS} functions", total <= GOAL_FUNCTIONS)
    return table
