"""`livesegments serve` beside a worker under load: single customers, and changes as they come.

A request is timed from when it was due, so a server that falls behind makes times longer.
The customers are records like those of the worker, so many that Redis holds the number asked for.
"""

import asyncio
import http.client
import json
import re
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from itertools import cycle
from multiprocessing import get_context
from pathlib import Path

import numpy as np

from bench.report import Table
from livesegments.contracts.partitioning import Partitioning
from livesegments.contracts.timestamps import rfc3339
from livesegments.store.partitions import Partitions
from tests.sending import Feed
from tests.servers import KafkaServer, RedisServer, fresh_topics
from tests.service import PARTITIONS, Event, Service, purchase

CUSTOMERS, BUYING = 2_000_000, 2_000
EVENTS, RATE, TOO_FAST, SECONDS, WARM_UP_SECONDS = 1_000, 200, 20_000, 20.0, 8.0
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


async def ask(
    port: int, customers: Sequence[int], due_s: Sequence[float], times: list[float]
) -> None:
    """Request customers on one connection, each when it is due; add the milliseconds of each."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    for customer, due in zip(customers, due_s, strict=True):
        await asyncio.sleep(max(0.0, due - time.perf_counter()))
        path = f"/api/v1/customers/{name_of(customer)}"
        writer.write(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
        assert head.startswith(b"http/1.1 200"), head
        await reader.readexactly(int(head.partition(b"content-length: ")[2].split(b"\r\n")[0]))
        times.append((time.perf_counter() - due) * 1_000)
    writer.close()


def requests(port: int, customers: int, rate: float, seconds: float) -> tuple[list[float], float]:
    """Request random customers at a rate; return the milliseconds of each, and answers a second.

    With a rate that cannot be met the latter is the most that the server answers.
    """

    async def on_all_connections() -> None:
        due = (time.perf_counter() + np.arange(0, seconds, 1 / rate)).tolist()
        who = np.random.default_rng(1).integers(0, customers, len(due)).tolist()
        parts = [slice(each, None, CONNECTIONS) for each in range(CONNECTIONS)]
        asked = asyncio.gather(*(ask(port, who[part], due[part], times) for part in parts))
        await asyncio.wait_for(asked, seconds) if rate > RATE else await asked

    times: list[float] = []
    began = time.perf_counter()
    with suppress(TimeoutError):
        asyncio.run(on_all_connections())
    return times, len(times) / (time.perf_counter() - began)


def start(service: Service) -> int:
    """Start a server; return its port once it is ready."""
    service.launch([sys.executable, "-m", "livesegments.cli", "serve"])
    service.wait_for(lambda: service.missing() == [], "serve is ready")
    address = re.search(r'"address": "http://127.0.0.1:(\d+)/"', service.logs[-1].read_text())
    assert address
    return int(address[1])


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
            port = start(service)
            with Feed(service, live, every=0.1, portion=EVENTS // 10):
                stream = pool.apply_async(seen, (port, WARM_UP_SECONDS + SECONDS))
                pool.apply(requests, (port, customers, RATE, WARM_UP_SECONDS))
                times, _ = pool.apply(requests, (port, customers, RATE, SECONDS))
                visible = np.array(stream.get())
                _, most = pool.apply(requests, (port, customers, TOO_FAST, SECONDS / 2))
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
        f"{most:,.0f}",
    )
    seen50, seen99 = np.percentile(visible, [50, 99])
    table.add(
        "purchase to its change on a stream",
        f"{seen50:.0f} ms",
        f"{seen99:.0f} ms",
        f"{len(visible) / (WARM_UP_SECONDS + SECONDS):,.0f}",
    )
    table.goal(f"p99 of a customer below {GOAL_P99_MS:g} ms", p99 < GOAL_P99_MS)
    table.goal(f"p99 to a change below {GOAL_SEEN_MS:g} ms", seen99 < GOAL_SEEN_MS)
    return table
