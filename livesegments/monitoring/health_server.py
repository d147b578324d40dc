"""HTTP server for the three endpoints of operators and orchestrators: metrics, livez, readyz."""

import json
import threading
from collections.abc import Callable, Mapping
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socket import AF_INET, AF_INET6
from socketserver import TCPServer
from typing import Self
from urllib.parse import parse_qs, urlsplit

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder

Liveness = Callable[[], tuple[bool, str]]
Readiness = Callable[[], Mapping[str, bool]]

_JSON = "application/json"
_TEXT = "text/plain; charset=utf-8"


class HttpPortError(RuntimeError):
    """The health server cannot listen on the configured address."""


class HealthServer(ThreadingHTTPServer):
    """Serves ``/metrics``, ``/livez`` and ``/readyz`` from its own threads.

    The constructor opens the port; `start` begins to answer requests.

    Parameters
    ----------
    port
        TCP port; 0 picks a free one, see `port`.
    registry
        Contents of ``/metrics``, in OpenMetrics or Prometheus text by the Accept header.
    liveness
        Returns (whether the main loop progresses, a description); ``/livez`` is 200 or 503. It
        must not query dependencies: a restart does not fix a broker.
    readiness
        Returns named checks; ``/readyz`` is 200 when all pass, else 503 with the failed checks.
        ``/readyz?exclude=model`` ignores that check.
    host
        Address to listen on.

    Raises
    ------
    HttpPortError
        If the address is unavailable.

    Notes
    -----
    A check that raises counts as failed. Only the type of the error is shown, since its message
    might contain a secret.
    """

    daemon_threads = True
    request_queue_size = 32

    def __init__(
        self,
        port: int,
        registry: CollectorRegistry,
        liveness: Liveness,
        readiness: Readiness,
        *,
        host: str = "0.0.0.0",
    ) -> None:
        self._registry, self._liveness, self._readiness = registry, liveness, readiness
        self._thread: threading.Thread | None = None
        self.address_family = AF_INET6 if ":" in host else AF_INET
        try:
            super().__init__((host, port), _Request)
        except (OSError, OverflowError) as error:
            reason = getattr(error, "strerror", None) or error
            raise HttpPortError(
                f"cannot listen on {host}:{port} ({reason}); "
                "set LIVESEGMENTS_HTTP_PORT to a free port, 0 takes any"
            ) from error

    @property
    def port(self) -> int:
        """The actual port."""
        return int(self.server_address[1])

    def start(self) -> Self:
        """Begin to answer requests; return self."""
        self._thread = threading.Thread(
            target=self.serve_forever, args=(0.05,), name="http", daemon=True
        )
        self._thread.start()
        return self

    def stop(self) -> None:
        """Stop listening, without waiting for requests in progress."""
        if self._thread is not None:
            self.shutdown()
            self._thread.join()
            self._thread = None
        self.server_close()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def answer(self, target: str, accept: str) -> tuple[HTTPStatus, str, bytes]:
        """Return status, content type and body of a page."""
        path, query = urlsplit(target).path, urlsplit(target).query
        if path == "/metrics":
            return self._metrics(accept)
        if path == "/livez":
            return self._live()
        if path == "/readyz":
            return self._ready(parse_qs(query).get("exclude", []))
        return HTTPStatus.NOT_FOUND, _TEXT, b"not found; there are /metrics, /livez, /readyz\n"

    def _metrics(self, accept: str) -> tuple[HTTPStatus, str, bytes]:
        encode, content_type = choose_encoder(accept)
        try:
            return HTTPStatus.OK, content_type, encode(self._registry)
        except Exception as error:  # noqa: BLE001 - a page answers whatever fails
            body = f"the metrics cannot be shown: {type(error).__name__}\n"
            return HTTPStatus.INTERNAL_SERVER_ERROR, _TEXT, body.encode()

    def _live(self) -> tuple[HTTPStatus, str, bytes]:
        try:
            live, detail = self._liveness()
        except Exception as error:  # noqa: BLE001 - a page answers whatever fails
            live, detail = False, f"the check failed: {type(error).__name__}"
        return _verdict(live, {"live": live, "detail": detail})

    def _ready(self, excluded: list[str]) -> tuple[HTTPStatus, str, bytes]:
        try:
            checks = dict(self._readiness())
        except Exception as error:  # noqa: BLE001 - a page answers whatever fails
            checks = {f"the checks failed: {type(error).__name__}": False}
        missing = [name for name, holds in checks.items() if not holds and name not in excluded]
        return _verdict(not missing, {"ready": not missing, "missing": missing, "checks": checks})

    def server_bind(self) -> None:
        """Bind without resolving the host name, as HTTPServer does, which can take seconds."""
        TCPServer.server_bind(self)
        self.server_name, self.server_port = str(self.server_address[0]), self.port

    def handle_error(self, request: object, client_address: object) -> None:
        """Ignore clients that disconnect during a request."""


def _verdict(good: bool, body: Mapping[str, object]) -> tuple[HTTPStatus, str, bytes]:
    status = HTTPStatus.OK if good else HTTPStatus.SERVICE_UNAVAILABLE
    return status, _JSON, json.dumps(body).encode() + b"\n"


class _Request(BaseHTTPRequestHandler):
    server: HealthServer
    server_version = "livesegments"
    sys_version = ""
    timeout = 5.0  # seconds: an idle client must not occupy a thread

    def do_GET(self) -> None:
        self.wfile.write(self._head())

    def do_HEAD(self) -> None:
        self._head()

    def _head(self) -> bytes:
        accept = self.headers.get("Accept", "")
        status, content_type, body = self.server.answer(self.path, accept)
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "no-store")
        self.end_headers()
        return body

    def log_message(self, format: str, *args: object) -> None:
        """Log nothing: scrapes every few seconds are not worth logging."""
