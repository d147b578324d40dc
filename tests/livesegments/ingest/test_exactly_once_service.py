"""Avro orders in three currencies, with line items and broken records; kills at every point."""

import json
import os
import random
import signal
import struct
import subprocess
import sys
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from io import BytesIO
from itertools import product
from pathlib import Path
from typing import Any

import fastavro
import pandas as pd
import pytest

from livesegments.contracts.dead_letters import parse
from livesegments.contracts.topics import DEAD_LETTERS, PURCHASES
from tests import processes
from tests.livesegments.ingest import topics
from tests.livesegments.ingest.crashing_ingest import POINTS
from tests.livesegments.ingest.topics import INGEST, TOPIC, Sent
from tests.servers import RegistryServer
from tests.service import Service

pytestmark = pytest.mark.servers

KILLS = int(os.environ.get("LIVESEGMENTS_KILLS", "1"))
"""At each point; once a day the workflow kills several times."""
LINE = {
    "type": "record",
    "name": "Line",
    "fields": [{"name": "quantity", "type": "int"}, {"name": "price", "type": "string"}],
}
SCHEMA: dict[str, Any] = {
    "type": "record",
    "name": "Order",
    "fields": [
        {"name": "number", "type": "string"},
        {"name": "customer", "type": ["null", "string"]},
        {"name": "at", "type": {"type": "long", "logicalType": "timestamp-millis"}},
        {"name": "currency", "type": "string"},
        {"name": "status", "type": "string"},
        {"name": "lines", "type": {"type": "array", "items": LINE}},
    ],
}
WIDER: dict[str, Any] = {
    **SCHEMA,
    "fields": [*SCHEMA["fields"], {"name": "note", "type": ["null", "string"], "default": None}],
}
RATES = {"USD": Decimal("1.0"), "EUR": Decimal("1.25"), "GBP": Decimal("1.5")}
SQL = """
SELECT
    value->>'$.number' AS event_id,
    value->>'$.customer' AS customer_id,
    value->>'$.at' AS occurred_at,
    sum((line->>'$.quantity')::INTEGER * (line->>'$.price')::DECIMAL(12,2) * usd::DECIMAL(9,4))
        AS amount
FROM (SELECT value, unnest(value->'$.lines[*]') AS line FROM source)
JOIN rates ON rates.currency = value->>'$.currency'
WHERE value->>'$.status' = 'paid'
GROUP BY ALL
"""


class Shop:
    """Orders of a shop, with their value by a computation of its own."""

    def __init__(self, registry: RegistryServer) -> None:
        self._ids = [registry.register("orders", json.dumps(each)) for each in (SCHEMA, WIDER)]
        self._random = random.Random(7)
        self.made: list[dict[str, Any]] = []
        self.broken = 0

    def orders(self, count: int) -> list[Sent]:
        return [self._order() for _ in range(count)]

    def _order(self) -> Sent:
        draw = self._random
        number = len(self.made)
        order: dict[str, Any] = {
            "number": f"o-{number}",
            "customer": f"c{draw.randrange(60)}",
            "at": datetime(2026, 1, 1, tzinfo=UTC) + timedelta(minutes=number),
            "currency": draw.choice([*RATES]),
            "status": draw.choices(["paid", "cancelled"], [9, 1])[0],
            "lines": [
                {"quantity": draw.randint(1, 4), "price": f"{draw.randint(100, 9999) / 100:.2f}"}
                for _ in range(draw.randint(1, 4))
            ],
        }
        fault = draw.random()
        if fault < 0.004:
            order["lines"][0]["price"] = "n/a"
        elif fault < 0.008:
            order["customer"] = None
        newer = draw.random() < 0.5
        value = self._avro(order, newer)
        if 0.008 <= fault < 0.012:
            value = value[: len(value) // 2]
        bad = fault < 0.012
        # The query leaves a cancelled order out, whatever is wrong with its values.
        self.broken += bad and (order["status"] == "paid" or fault >= 0.008)
        self.made.append({**order, "bad": bad})
        return order["number"].encode(), value

    def _avro(self, order: dict[str, Any], newer: bool) -> bytes:
        out = BytesIO()
        document = {**order, "note": "x"} if newer else order
        schema = fastavro.parse_schema(WIDER if newer else SCHEMA)
        fastavro.schemaless_writer(out, schema, document)
        return struct.pack(">bI", 0, self._ids[newer]) + out.getvalue()

    def customers(self) -> pd.DataFrame:
        """Return purchases and spend by customer."""
        lines = pd.DataFrame(
            [
                {
                    "customer": order["customer"],
                    "order": order["number"],
                    "amount": line["quantity"] * Decimal(line["price"]) * RATES[order["currency"]],
                }
                for order in self.made
                if order["status"] == "paid" and not order["bad"]
                for line in order["lines"]
            ]
        )
        orders = lines.groupby(["customer", "order"], as_index=False)["amount"].sum()
        result: pd.DataFrame = orders.groupby("customer")["amount"].agg(["count", "sum"])
        return result


def found(service: Service) -> pd.DataFrame:
    """Return purchases and spend by customer, of the purchases topic."""
    events = [
        {"customer": each["customer_id"], "amount": Decimal(each["amount"])}
        for each in topics.values(topics.read(service, PURCHASES))
    ]
    result: pd.DataFrame = pd.DataFrame(events).groupby("customer")["amount"].agg(["count", "sum"])
    return result


@pytest.mark.timeout(600)
def test_every_order_counts_once_after_kills_at_every_point(
    service: Service, registry: RegistryServer, tmp_path: Path
) -> None:
    topics.create(service)
    shop = Shop(registry)
    sources = topics.write_sources(tmp_path, format="avro")
    (tmp_path / "orders.sql").write_text(SQL)
    with sources.open("a") as file:
        file.write(f'[schema_registry]\nurl = "{registry.url}"\n')
    service.environment |= {
        "LIVESEGMENTS_INSTANCE_ID": "one",
        # A restart waits for the session of the one that was killed.
        "LIVESEGMENTS_SESSION_TIMEOUT_SECONDS": "1",
        "LIVESEGMENTS_MAX_POLL_RECORDS": "100",
        "LIVESEGMENTS_WARMUP_CUSTOMERS": "20",
    }
    crashing = [sys.executable, "-m", "tests.livesegments.ingest.crashing_ingest", str(sources)]
    for kill, point in product(range(KILLS), POINTS):
        call = 1 + (kill + POINTS.index(point)) % 2
        topics.send(service, shop.orders(150))
        victim = service.launch([*crashing, point, str(call)])
        for _ in range(60):
            with suppress(subprocess.TimeoutExpired):
                victim.wait(2)
                break
            topics.send(service, shop.orders(20))
        assert victim.returncode == -signal.SIGKILL, f"{point}, {call}:\n{service.tail()}"
    service.launch([*INGEST, str(sources)])
    topics.wait(service, 240)

    pd.testing.assert_frame_equal(found(service), shop.customers())
    places = [
        (each.partition, each.offset)
        for each in (parse(letter.headers) for letter in topics.read(service, DEAD_LETTERS))
    ]
    assert len(places) == len(set(places)) == shop.broken

    # The features of every customer, as the worker computes them.
    service.start(INSTANCE_ID="worker")
    service.wait()
    service.wait_for(service.has_model, "everyone is scored")
    export = tmp_path / "export.csv"
    service.command("export", export, check=True, INSTANCE_ID="")
    exported = pd.read_csv(export).set_index("customer_id").sort_index()
    expected = shop.customers().sort_index()
    assert exported["purchases"].tolist() == expected["count"].tolist()
    assert exported["spend"].tolist() == pytest.approx(
        [float(each) for each in expected["sum"]], abs=0.005 * len(shop.made)
    )
    service.verified()


def test_dead_letters_go_through_the_query_again_after_it_is_corrected(
    service: Service, tmp_path: Path
) -> None:
    topics.create(service)
    sources = topics.write_sources(tmp_path)
    topics.send(service, [topics.order(1, total="12,50"), topics.order(2)])
    ingest = service.launch([*INGEST, str(sources)])
    topics.wait(service)
    service.leave(ingest)
    assert len(topics.read(service, PURCHASES)) == 1
    again = [sys.executable, "-m", "livesegments.cli", "dead-letters", "replay", "--json"]
    environment = service.full_environment()

    done = processes.run(again, env=environment)
    assert json.loads(done.stdout)["sent"] == {}
    done = processes.run([*again, "--sources", str(sources)], env=environment, check=True)
    assert json.loads(done.stdout)["sent"] == {}
    assert topics.read(service, TOPIC) != []

    query = (tmp_path / "orders.sql").read_text()
    corrected = query.replace("(value->>'$.total')", "replace(value->>'$.total', ',', '.')")
    (tmp_path / "orders.sql").write_text(corrected)
    command = [*again, "--sources", str(sources)]
    for sent in ({"query_failed": 1}, {}):
        done = processes.run(command, env=environment, check=True)
        assert json.loads(done.stdout)["sent"] == sent
    purchases = {each["event_id"]: each for each in topics.values(topics.read(service, PURCHASES))}
    assert Decimal(purchases["o-1"]["amount"]) == Decimal("15.625")
    assert len(topics.read(service, PURCHASES)) == 2
