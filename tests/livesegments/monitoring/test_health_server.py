"""The health endpoints over real sockets."""

import http.client
import json
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.openmetrics.parser import (
    text_string_to_metric_families as parse_openmetrics,
)
from prometheus_client.parser import text_string_to_metric_families

from livesegments.monitoring.health_server import HealthServer, HttpPortError
from livesegments.monitoring.metrics import Metrics
from tests.segmentations import PERSONAS

HOST = "127.0.0.1"


@dataclass
class Worker:
    """Server inputs that a test can change."""

    live: tuple[bool, str] = (True, "fine")
    ready: dict[str, bool] = field(default_factory=lambda: {"joined": True, "redis": True})
    error: Exception | None = None

    def liveness(self) -> tuple[bool, str]:
        if self.error:
            raise self.error
        return self.live

    def readiness(self) -> dict[str, bool]:
        if self.error:
            raise self.error
        return self.ready


@dataclass
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes


@pytest.fixture
def worker() -> Worker:
    return Worker()


@pytest.fixture
def metrics() -> Metrics:
    return Metrics(CollectorRegistry(), PERSONAS)


@pytest.fixture
def server(worker: Worker, metrics: Metrics) -> Iterator[HealthServer]:
    with HealthServer(0, metrics.registry, worker.liveness, worker.readiness, host=HOST) as server:
        yield server


def ask(
    server: HealthServer, path: str, method: str = "GET", headers: dict[str, str] | None = None
) -> Answer:
    connection = http.client.HTTPConnection(HOST, server.port, timeout=10)
    try:
        connection.request(method, path, headers=headers or {})
        response = connection.getresponse()
        return Answer(response.status, dict(response.getheaders()), response.read())
    finally:
        connection.close()


def test_metrics_are_prometheus_text_by_default(server: HealthServer, metrics: Metrics) -> None:
    metrics.count("events_consumed_total", "purchases.v1", n=7)
    answer = ask(server, "/metrics")
    assert answer.status == 200
    assert answer.headers["Content-Type"].startswith("text/plain")
    families = text_string_to_metric_families(answer.body.decode())
    (family,) = [f for f in families if f.name == "livesegments_events_consumed"]
    assert {s.labels["topic"]: s.value for s in family.samples}["purchases.v1"] == 7


def test_metrics_are_openmetrics_when_asked_for(server: HealthServer) -> None:
    accept = "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5"
    answer = ask(server, "/metrics", headers={"Accept": accept})
    assert answer.headers["Content-Type"].startswith("application/openmetrics-text")
    assert answer.body.endswith(b"# EOF\n")
    parsed = parse_openmetrics(answer.body.decode())  # type: ignore[no-untyped-call]
    assert len(list(parsed)) > 30


def test_metrics_that_fail_to_collect_are_a_500(server: HealthServer, metrics: Metrics) -> None:
    class Broken:
        def collect(self) -> Iterator[object]:
            raise RuntimeError("password=hunter2")

    metrics.registry.register(Broken())  # type: ignore[arg-type]
    answer = ask(server, "/metrics")
    assert answer.status == 500
    assert b"RuntimeError" in answer.body
    assert b"hunter2" not in answer.body


def test_livez_follows_the_main_loop(server: HealthServer, worker: Worker) -> None:
    assert ask(server, "/livez").status == 200
    worker.live = (False, "last round ended 99 s ago")
    answer = ask(server, "/livez")
    assert answer.status == 503
    assert json.loads(answer.body) == {"live": False, "detail": "last round ended 99 s ago"}


def test_readyz_names_what_is_missing(server: HealthServer, worker: Worker) -> None:
    assert ask(server, "/readyz").status == 200
    worker.ready = {"joined": True, "redis": False, "model": False}
    assert ask(server, "/livez?verbose=1").status == 200
    answer = ask(server, "/readyz")
    assert answer.status == 503
    assert answer.headers["Content-Type"] == "application/json"
    assert json.loads(answer.body) == {
        "ready": False,
        "missing": ["redis", "model"],
        "checks": {"joined": True, "redis": False, "model": False},
    }


def test_readyz_leaves_out_of_the_verdict_what_is_excluded(
    server: HealthServer, worker: Worker
) -> None:
    worker.ready = {"joined": True, "redis": True, "model": False}
    assert ask(server, "/readyz").status == 503
    answer = ask(server, "/readyz?exclude=model")
    assert answer.status == 200
    assert json.loads(answer.body)["checks"]["model"] is False
    worker.ready["redis"] = False
    assert json.loads(ask(server, "/readyz?exclude=model").body)["missing"] == ["redis"]
    assert ask(server, "/readyz?exclude=model&exclude=redis").status == 200


@pytest.mark.parametrize("path", ["/livez", "/readyz"])
def test_a_check_that_raises_has_failed_and_tells_no_secret(
    server: HealthServer, worker: Worker, path: str
) -> None:
    worker.error = ConnectionError("redis://user:hunter2@host")
    answer = ask(server, path)
    assert answer.status == 503
    assert b"ConnectionError" in answer.body
    assert b"hunter2" not in answer.body


def test_other_paths_are_404_with_the_list(server: HealthServer) -> None:
    for path in ("/", "/metrics/x", "/healthz"):
        answer = ask(server, path)
        assert answer.status == 404
        for page in (b"/metrics", b"/livez", b"/readyz"):
            assert page in answer.body


@pytest.mark.parametrize("path", ["/metrics", "/livez", "/readyz", "/nothing"])
def test_head_answers_like_get_without_a_body(server: HealthServer, path: str) -> None:
    get, head = ask(server, path), ask(server, path, "HEAD")
    assert head.body == b""
    assert head.status == get.status
    for header in ("Content-Type", "Content-Length"):
        assert head.headers[header] == get.headers[header]


def test_nothing_can_be_posted(server: HealthServer) -> None:
    assert ask(server, "/metrics", "POST").status == 501


def test_nothing_is_written_to_the_terminal(
    server: HealthServer, capfd: pytest.CaptureFixture[str]
) -> None:
    ask(server, "/metrics")
    ask(server, "/nothing")
    ask(server, "/metrics", "POST")
    for sent in (b"GET /metrics HTTP/1.1\r\n\r\n", b"\x16\x03\x01 nonsense\r\n\r\n"):
        with socket.create_connection((HOST, server.port)) as client:
            client.sendall(sent)
            client.setsockopt(
                socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00"
            )
    assert ask(server, "/livez").status == 200
    time.sleep(0.1)
    assert capfd.readouterr() == ("", "")


def test_a_port_in_use_names_the_setting(server: HealthServer, metrics: Metrics) -> None:
    with pytest.raises(HttpPortError, match="LIVESEGMENTS_HTTP_PORT") as caught:
        HealthServer(server.port, metrics.registry, lambda: (True, ""), dict, host=HOST)
    assert f"{HOST}:{server.port}" in str(caught.value)


@pytest.mark.parametrize("port", [-1, 65_536])
def test_an_impossible_port_names_the_setting(metrics: Metrics, port: int) -> None:
    with pytest.raises(HttpPortError, match="LIVESEGMENTS_HTTP_PORT"):
        HealthServer(port, metrics.registry, lambda: (True, ""), dict, host=HOST)


def test_a_slow_check_does_not_hold_up_the_others_nor_the_stop(metrics: Metrics) -> None:
    entered, release = threading.Event(), threading.Event()

    def readiness() -> dict[str, bool]:
        entered.set()
        release.wait(60)
        return {}

    server = HealthServer(0, metrics.registry, lambda: (True, ""), readiness, host=HOST).start()
    client = socket.create_connection((HOST, server.port))
    try:
        client.sendall(b"GET /readyz HTTP/1.1\r\nHost: a\r\n\r\n")
        assert entered.wait(10)
        assert ask(server, "/livez").status == 200
        began = time.monotonic()
        server.stop()
        assert time.monotonic() - began < 30
    finally:
        release.set()
        client.close()


def test_a_silent_client_does_not_hold_up_the_stop(server: HealthServer) -> None:
    with socket.create_connection((HOST, server.port)):
        assert ask(server, "/livez").status == 200
        began = time.monotonic()
        server.stop()
        assert time.monotonic() - began < 2


def test_the_port_is_free_again_after_the_stop(metrics: Metrics) -> None:
    first = HealthServer(0, metrics.registry, lambda: (True, ""), dict, host=HOST).start()
    ask(first, "/livez")
    first.stop()
    with HealthServer(first.port, metrics.registry, lambda: (True, ""), dict, host=HOST) as second:
        assert ask(second, "/livez").status == 200


def test_a_server_that_never_started_can_be_stopped(metrics: Metrics) -> None:
    HealthServer(0, metrics.registry, lambda: (True, ""), dict, host=HOST).stop()
