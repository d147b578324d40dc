"""Draw the dashboards for the docs: ``python -m tests.livesegments.monitoring.pictures [FOLDER]``.

Two workers process a year of real purchases in about two minutes, scraped by a Prometheus; the
pictures show its answers to the panels' queries.
"""

import json
import sys
import tempfile
import time
from pathlib import Path

from bench.history import journey
from tests.livesegments.monitoring.picture import Series, picture
from tests.livesegments.monitoring.test_dashboards import FOLDER, ROOT, port
from tests.servers import KafkaServer, PrometheusServer, RedisServer, fresh_topics
from tests.service import Service, running

SECONDS, STEP = 120, 2


def main(into: Path) -> None:
    """Run everything, and write a picture of each dashboard."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with KafkaServer(folder / "kafka") as kafka, RedisServer(folder / "redis") as store:
            fresh_topics(kafka.bootstrap)
            settings = {"WARMUP_CUSTOMERS": "500"}
            with running(Service(kafka, store, folder, settings), workers=2) as service:
                ports = [port(service, worker) for worker in range(2)]
                with PrometheusServer(folder / "prometheus", ports) as prometheus:
                    began = time.time()
                    _send_evenly(service)
                    time.sleep(3)  # the last scrapes
                    _draw(prometheus, began, into)


def _send_evenly(service: Service) -> None:
    events = journey()
    began = time.monotonic()
    sent = 0
    while sent < len(events):
        due = min(len(events), int(len(events) * (time.monotonic() - began + 1) / SECONDS))
        service.send(events[sent:due])
        sent = due
        time.sleep(0.5)


def _draw(prometheus: PrometheusServer, began: float, into: Path) -> None:
    end = time.time()

    def ask(expression: str) -> list[Series]:
        expression = expression.replace("$__rate_interval", "10s")
        expression = expression.replace("$__range", f"{end - began:.0f}s")
        span = {"start": f"{began}", "end": f"{end}", "step": f"{STEP}s"}
        found = prometheus.get("query_range", {"query": expression, **span})["result"]
        return [
            Series(each["metric"], [(float(at), float(value)) for at, value in each["values"]])
            for each in found
        ]

    for file in sorted(FOLDER.glob("*.json")):
        drawn = picture(json.loads(file.read_text()), ask)
        (into / f"{file.stem}.svg").write_text(drawn)


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "docs" / "dashboards")
