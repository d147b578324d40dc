"""Every panel has data: its queries run on a Prometheus that scrapes two workers."""

import json
import math
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.client import HTTPConnection
from itertools import count, islice
from pathlib import Path

import numpy as np
import pytest
from prometheus_client.parser import text_string_to_metric_families

from livesegments.contracts.topics import PURCHASES
from livesegments.monitoring.metric_specs import INGEST_TABLE, SERVE_TABLE, TABLE
from livesegments.monitoring.series import PREFIX
from tests.servers import PrometheusServer
from tests.service import Event, Service, profile, purchase

ROOT = Path(__file__).parents[3]
FOLDER = ROOT / "deploy" / "grafana" / "dashboards"
ALERTS = ROOT / "deploy" / "alerts.yml"
VARIABLES = {"$__rate_interval": "10s", "$__range": "1m", "$feature": "spend"}


def queries() -> Iterator[tuple[str, str]]:
    """Return the panels' (title, expression)."""
    for file in sorted(FOLDER.glob("*.json")):
        for panel in json.loads(file.read_text())["panels"]:
            for target in panel.get("targets", ()):
                yield f"{file.stem}: {panel['title']}", target["expr"]


def test_the_committed_dashboards_are_what_their_source_makes(tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-m", "deploy.grafana", tmp_path], check=True, cwd=ROOT)
    made = {file.name: file.read_text() for file in tmp_path.iterdir()}
    committed = {file.name: file.read_text() for file in FOLDER.iterdir()}
    assert made == committed, "run `make docs`"


def test_dashboards_and_alerts_name_only_metrics_that_there_are() -> None:
    all_series = (*TABLE, *INGEST_TABLE, *SERVE_TABLE)
    known = {series.full_name for series in all_series}
    known |= {f"{s.full_name}_{part}" for s in all_series for part in ("bucket", "sum", "count")}
    asked = {expression for _, expression in queries()} | {ALERTS.read_text()}
    named = {name for text in asked for name in re.findall(r"\blivesegments_\w+", text)}
    assert named <= known
    assert len(named) > 25


def test_panels_have_titles_of_their_own() -> None:
    for file in FOLDER.glob("*.json"):
        titles = [panel["title"] for panel in json.loads(file.read_text())["panels"]]
        assert len(titles) == len(set(titles))


def profiles(customers: int) -> Iterator[Event]:
    """Return a profile of each customer, for five kinds of people."""
    for i in range(customers):
        kind = i % 5
        yield profile(
            f"c{i}",
            "2024-01-01T00:00:00Z",
            age=22 + 12 * kind + i % 4,
            income=15_000 * (1 + kind) + 100 * (i % 7),
            location=("urban", "suburban", "rural")[kind % 3],
        )


def purchases(customers: int) -> Iterator[Event]:
    """Yield purchases without end, the first 5,000 over 104 days; some violate the contract."""
    rng = np.random.default_rng(3)
    start = datetime(2024, 1, 1, tzinfo=UTC)
    for n in count():
        i = int(customers * rng.beta(1, 2))
        at = (start + timedelta(hours=n / 2 if n < 5_000 else 2_500 + n / 500)).isoformat()
        yield purchase(f"c{i}", at, float(rng.gamma(2, 20 * (1 + i % 5))), event_id=f"e{n}")
        if n % 50 == 0:
            yield PURCHASES, f"c{i}".encode(), b"{"


def port(service: Service, worker: int) -> int:
    """Return the port that a worker reports in its log."""
    found = [0]

    def told() -> bool:
        lines = service.logs[worker].read_text().splitlines()
        found[:] = [e["port"] for line in lines if (e := json.loads(line)).get("port")]
        return bool(found)

    service.wait_for(told, "a worker that listens")
    return int(found[0])


@pytest.mark.servers
@pytest.mark.timeout(240)
def test_every_query_of_every_panel_returns_data(service: Service, tmp_path: Path) -> None:
    customers = 400
    service.start()
    service.start()
    ports = [port(service, worker) for worker in range(2)]
    load = purchases(customers)
    # Sources are another process, `livesegments ingest`, with metrics of its own.
    asked = [each for each in queries() if "livesegments_ingest_" not in each[1]]
    missing = dict.fromkeys(asked, "not asked yet")
    with PrometheusServer(tmp_path / "prometheus", ports, [ALERTS]) as prometheus:
        service.send(profiles(customers))
        service.send(islice(load, 5_000))
        service.wait_for(service.has_model, "a model")
        deadline = time.monotonic() + 90
        while missing and time.monotonic() < deadline:
            service.send(islice(load, 200))
            time.sleep(0.5)
            for (title, expression), _ in list(missing.items()):
                missing[title, expression] = _fault(prometheus, expression)
            missing = {query: fault for query, fault in missing.items() if fault}
        assert not missing
        groups = prometheus.get("rules", {})["groups"]
        assert {rule["health"] for group in groups for rule in group["rules"]} == {"ok"}
    pages = [_metrics(each) for each in ports]
    for page in pages:
        _check(page)
    assert _unknown(pages) <= {"refit_gain_ratio", "refit_duration_seconds"}  # no check so far


def _fault(prometheus: PrometheusServer, expression: str) -> str:
    for name, value in VARIABLES.items():
        expression = expression.replace(name, value)
    found = [float(sample["value"][1]) for sample in prometheus.query(expression)]
    if not found:
        return "no data"
    return "" if any(math.isfinite(value) for value in found) else f"only {set(found)}"


def _metrics(port: int) -> bytes:
    connection = HTTPConnection("127.0.0.1", port, timeout=10)
    connection.request("GET", "/metrics")
    page = connection.getresponse().read()
    connection.close()
    return page


def _check(page: bytes) -> None:
    """Check a worker's page with Prometheus' own linter, and for names of customers."""
    assert b'"c1"' not in page
    checked = subprocess.run(["promtool", "check", "metrics"], input=page, capture_output=True)
    assert (checked.returncode, checked.stdout, checked.stderr) == (0, b"", b"")


def _unknown(pages: list[bytes]) -> set[str]:
    """Return the series that no worker has ever set."""
    told, known = set(), set()
    for page in pages:
        for family in text_string_to_metric_families(page.decode()):
            for sample in family.samples:
                told.add(sample.name)
                if not math.isnan(sample.value):
                    known.add(sample.name)
    return {name.removeprefix(PREFIX) for name in told - known}
