"""`livesegments serve` beside a worker under load: single customers, and changes as they come.

A request is timed from when it was due, so a server that falls behind makes times longer.
The customers are records like those of the worker, so many that Redis holds the number asked for.
"""

import http.client
import json
import re
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import cycle
from multiprocessing import get_context
from pathlib import Path

import numpy as np

from bench.report import Table
from livesegments.contracts.partitioning import Partitioning
from livesegments.contracts.timestamps import rfc3339
from livesegments.store.partitions import Partitions
from tests.servers import KafkaServer, RedisServer, fresh_topics
from tests.service import PARTITIONS, Event, Feed, Service, purchase

CUSTOMERS, BUYING = 2_000_000, 2_000
EVENTS, RATE, SECONDS = 1_000, 200, 20.0
CONNECTIONS, CHUNK = 8, 10_000
GOAL_P99_MS, GOAL_SEEN_MS = 15.0, 1_000.0
START_US = 1_706_000_000_000_000
LIVE = "live-"


def name_of(customer: int) -> str:
    return f"customer-{customer:08d}"


def history(customers: int) -> list[Event]:
    """Return some purchases of each customer."""
    rng = np.random.default_rng(0)
    who = np.repeat(np.arange(customers), rng.integers(1, 12, customers))
    times = START_US - rng.integers(0, 60 * 86_400_000_000, len(who))
    return [
        purchase(name_of(customer), at, round(float(amount), 2), event_id=f"h{i}")
        for i, (customer, at, amount) in enumerate(
            zip(who.tolist(), rfc3339(times.tolist()), rng.lognormal(3, 1, len(who)), strict=True)
        )
    ]


def live(n: int, first: int) -> Iterator[Event]:
    """Return purchases that are due now."""
    rng = np.random.default_rng(first)
    at = rfc3339([START_US + first])[0]
    for i, customer in enumerate(rng.integers(0, BUYING, n).tolist()):
        due = f"{LIVE}{time.time_ns() // 1_000}-{first + i}"
        yield purchase(name_of(customer), at, 20.0 + i, event_id=due)


def multiply(store: Partitions, customers: int) -> None:
    """Add customers like those in the store until there are so many."""
    partitioning = Partitioning("murmur2", PARTITIONS)
    templates = cycle([blob for number in range(PARTITIONS) for _, blob in store.customers(number)])
    for start in range(BUYING, customers, CHUNK):
        names = [name_of(each) for each in range(start, min(start + CHUNK, customers))]
        owner = partitioning.of_keys([name.encode() for name in names])
        for partition in range(PARTITIONS):
            some = [name for name, own in zip(names, owner, strict=True) if own == partition]
            items = [part for pair in zip(some, templates, strict=False) for part in pair]
            store.redis.hset(store.keys(partition).customers, items=items)


def at_a_rate(port: int, customers: int, rate: float, seconds: float) -> list[float]:
    """Request random customers, each when it is due; return the milliseconds of each."""
    due = np.arange(0, seconds, 1 / rate)
    who = np.random.default_rng(1).integers(0, customers, len(due)).tolist()
    began = time.perf_counter()
    local = threading.local()

    def ask(at: float, customer: int) -> float:
        if not hasattr(local, "connection"):
            local.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        time.sleep(max(0.0, began + at - time.perf_counter()))
        local.connection.request("GET", f"/api/v1/customers/{name_of(customer)}")
        answer = local.connection.getresponse()
        answer.read()
        assert answer.status == 200, answer.status
        return (time.perf_counter() - began - at) * 1_000

    with ThreadPoolExecutor(CONNECTIONS) as threads:
        return list(threads.map(ask, due.tolist(), who))


def as_fast_as_possible(port: int, customers: int, seconds: float) -> int:
    """Return the requests of all connections that were answered."""

    def ask(seed: int) -> int:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        who, done = np.random.default_rng(seed), 0
        until = time.perf_counter() + seconds
        while time.perf_counter() < until:
            connection.request("GET", f"/api/v1/customers/{name_of(int(who.integers(customers)))}")
            connection.getresponse().read()
            done += 1
        return done

    with ThreadPoolExecutor(CONNECTIONS) as threads:
        return sum(threads.map(ask, range(CONNECTIONS)))


def seen(port: int, seconds: float) -> list[float]:
    """Return the milliseconds from each live event to its change on a stream."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    connection.request("GET", "/api/v1/changes")
    stream, found, until = connection.getresponse(), [], time.time() + seconds
    while time.time() < until:
        line = stream.readline()
        if line.startswith(b"data: "):
            cause = str((json.loads(line[6:])["cause"] or {}).get("event_id"))
            if cause.startswith(LIVE):
                due_us = int(cause.removeprefix(LIVE).partition("-")[0])
                found.append(time.time() * 1e3 - due_us / 1e3)
    return found


def run(customers: int = CUSTOMERS) -> Table:
    """Measure a server beside a worker under load."""
    table = Table(
        f"`livesegments serve` over {customers:,} customers, beside {EVENTS:,} events/s",
        ("", "p50", "p99", "a second"),
    )
    with (
        tempfile.TemporaryDirectory() as folder,
        KafkaServer(Path(folder) / "kafka") as kafka,
        RedisServer(Path(folder) / "redis") as server,
        get_context("spawn").Pool(2) as pool,
    ):
        fresh_topics(kafka.bootstrap, PARTITIONS)
        settings = {"REFIT": "off", "SERVE_PORT": "0", "SERVE_REQUESTS_PER_SECOND": "0"}
        service = Service(
            kafka,
            server,
            Path(folder),
            settings | {"SERVE_DATA": f"{folder}/history.duckdb", "WARMUP_CUSTOMERS": "500"},
        )
        try:
            service.send(history(BUYING))
            service.start()
            service.wait_for(service.has_model, "everyone is scored")
            multiply(Partitions(service.client, service.group), customers)
            service.launch([sys.executable, "-m", "livesegments.cli", "serve"])
            service.wait_for(lambda: service.missing() == [], "serve is ready")
            address = re.search(
                r'"address": "http://127.0.0.1:(\d+)/"', service.logs[-1].read_text()
            )
            assert address
            port = int(address[1])
            with Feed(service, live, every=0.1, portion=EVENTS // 10):
                pool.apply(at_a_rate, (port, customers, RATE, 3.0))
                stream = pool.apply_async(seen, (port, SECONDS))
                times = np.array(pool.apply(at_a_rate, (port, customers, RATE, SECONDS)))
                visible = np.array(stream.get())
                most = pool.apply(as_fast_as_possible, (port, customers, SECONDS / 2))
        finally:
            service.stop()
    p50, p99 = np.percentile(times, [50, 99])
    table.add(
        f"GET /customers/{{id}}, {RATE} requests/s", f"{p50:.1f} ms", f"{p99:.1f} ms", str(RATE)
    )
    table.add(
        f"the same, {CONNECTIONS} connections without a pause",
        "",
        "",
        f"{most / (SECONDS / 2):,.0f}",
    )
    seen50, seen99 = np.percentile(visible, [50, 99])
    table.add(
        "purchase to its change on a stream",
        f"{seen50:.0f} ms",
        f"{seen99:.0f} ms",
        f"{len(visible) / SECONDS:,.0f}",
    )
    table.goal(f"p99 of a customer below {GOAL_P99_MS:g} ms", p99 < GOAL_P99_MS)
    table.goal(f"p99 to a change below {GOAL_SEEN_MS:g} ms", seen99 < GOAL_SEEN_MS)
    return table
