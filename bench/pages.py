"""Time to open each page of `livesegments serve` with a long history behind it.

The history of a small deployment gets changes as its follower writes them, in the order of time and
of random customers; the server then answers each page for the first time since a commit.
"""

import http.client
import tempfile
import time
from pathlib import Path

import duckdb
import numpy as np

from bench.report import Table
from bench.serve import BUYING, name_of, start
from livesegments.analysis.pages.site import PAGES, TICK_SECONDS
from tests.servers import KafkaServer, RedisServer, fresh_topics
from tests.service import PARTITIONS, Service, purchase

CHANGES, CUSTOMERS, DAYS, ROUNDS = 10_000_000, 1_000_000, 90, 5
GOAL_MS = 300.0

_CHANGES = """
INSERT INTO changes
SELECT
    i % $partitions, i, moment, customer, md5_number_lower(customer), 'reassigned',
    ids[1 + i % len(ids)], ids[1 + (i + 1 + i // 7) % len(ids)], moment, moment, i,
    CASE WHEN i % 50 = 0 THEN 'model' WHEN i % 5 = 0 THEN 'expiry' ELSE 'live' END,
    generation, 1, 0.5, 1.0, ids[1], [
        {'feature': name, 'direction': 'above', 'z_score': 1.2, 'previous_z_score': -0.3,
          'contribution': 0.4} FOR name IN ['purchases', 'spend', 'age']
    ], NULL, i % 3 = 0
FROM (
    SELECT i, format('customer-{:08d}', (hash(i) % $customers)::BIGINT) AS customer,
        now()::TIMESTAMP - to_days($days) + i / $n * to_days($days) AS moment
    FROM range($n) AS numbers(i)
), (SELECT list(segment) AS ids, max(generation) AS generation FROM definitions)
"""
_MOVES = """
INSERT INTO moves
SELECT date_trunc('hour', occurred_at), previous, segment, origin, count(*)
FROM changes GROUP BY ALL
"""


def lengthen(file: Path, changes: int) -> None:
    """Add changes to a history that no process has open."""
    with duckdb.connect(str(file), config={"memory_limit": "2GB", "threads": 2}) as connection:
        sizes = {"n": changes, "customers": CUSTOMERS, "partitions": PARTITIONS, "days": DAYS}
        connection.execute(_CHANGES, sizes)
        connection.execute(_MOVES)


def open_page(port: int, path: str) -> tuple[float, bytes]:
    """Return the milliseconds to a page, and the page."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    began = time.perf_counter()
    connection.request("GET", path)
    answer = connection.getresponse()
    body = answer.read()
    took = (time.perf_counter() - began) * 1_000
    connection.close()
    assert answer.status == 200, (path, body)
    return took, body


def run(changes: int = CHANGES) -> Table:
    """Measure the pages of a server whose history has a number of changes."""
    table = Table(
        f"Pages of `livesegments serve` with {changes:,} changes behind them",
        ("page", "median", "slowest"),
    )
    with (
        tempfile.TemporaryDirectory() as folder,
        KafkaServer(Path(folder) / "kafka") as kafka,
        RedisServer(Path(folder) / "redis") as server,
    ):
        fresh_topics(kafka.bootstrap, PARTITIONS)
        file = Path(folder) / "history.duckdb"
        settings = {"REFIT": "off", "SERVE_PORT": "0", "WARMUP_CUSTOMERS": "500"}
        service = Service(kafka, server, Path(folder), settings | {"SERVE_DATA": str(file)})
        try:
            service.send(
                purchase(name_of(i), "2024-01-02T10:00:00Z", 5.0 + i % 97) for i in range(BUYING)
            )
            service.start()
            service.wait_for(service.has_model, "everyone is scored")
            start(service)
            service.stop()
            lengthen(file, changes)
            port = start(service)
            found: dict[str, list[float]] = {
                path: [] for path in (*PAGES, f"/customers?id={name_of(7)}")
            }
            service.wait_for(
                lambda: b"under way" not in open_page(port, "/audiences")[1], "it is surveyed"
            )
            for _ in range(ROUNDS):
                for path, times in found.items():
                    times.append(open_page(port, path)[0])
                time.sleep(TICK_SECONDS)
        finally:
            service.stop()
    for path, times in found.items():
        table.add(path, f"{np.median(times):.0f} ms", f"{max(times):.0f} ms")
    table.goal(f"every page below {GOAL_MS:g} ms", max(map(max, found.values())) < GOAL_MS)
    return table
