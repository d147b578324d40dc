"""Assemble the pages and the API of a deployment, and run them until asked to stop."""

import math
import socket
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager

import structlog
import uvicorn
from kafka.errors import KafkaError
from prometheus_client import CollectorRegistry, ProcessCollector
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from livesegments.analysis.pages.site import Site
from livesegments.analysis.survey.context import DeploymentReader
from livesegments.config.clients import kafka_config, open_store
from livesegments.config.connectivity import reach_redis
from livesegments.config.settings import PREFIX, Settings
from livesegments.contracts.topics import CHANGES, STATES, check_partition_counts
from livesegments.history.database import History
from livesegments.history.follower import Committed, Follower
from livesegments.monitoring.health_server import HealthServer
from livesegments.monitoring.watchdog import Heartbeat
from livesegments.operations.topics import check_allowed, partition_counts
from livesegments.serve import problems
from livesegments.serve.api import Api
from livesegments.serve.auth import Token
from livesegments.serve.change_log import ChangeLog, Position
from livesegments.serve.changes_stream import Backlog, ChangesStream
from livesegments.serve.current_state import CurrentState
from livesegments.serve.customers import CustomerReader
from livesegments.serve.guard import Guard
from livesegments.serve.http_limits import BoundedProtocol
from livesegments.serve.instrumentation import ServeMetrics
from livesegments.serve.openapi import documentation
from livesegments.serve.page_routes import PageRoutes
from livesegments.signals import when_asked_to_end

log = structlog.get_logger()

REDIS_SECONDS = 2.0
BEAT_SECONDS, LIVE_SECONDS = 2, 60.0
GRACE_SECONDS = 3
UNSENT_MS = 30_000
"""A client that takes nothing for so long is disconnected."""
_BACKLOG = 2_048


class ServeError(RuntimeError):
    """The server cannot start; the message says why, and what to set."""


class Sources:
    """Sources of pages and answers; nothing is read before their threads run."""

    def __init__(self, settings: Settings, history: History) -> None:
        self.history, self.changes = history, ChangeLog()
        self.follower = Follower(
            kafka_config(settings), settings.group_id, history, committed=self._committed
        )
        self.store = open_store(settings, REDIS_SECONDS)
        self.reader = DeploymentReader(settings, self.store, history)
        self.current = CurrentState(self.reader)

    def _committed(self, new: Committed) -> None:
        numbers = range(len(new.positions))
        offsets = tuple(new.positions[each] for each in numbers)
        end = Position(self.follower.changes_id, offsets)
        # Changes made while this server was down are sent too.
        if self.follower.ready or self.history.filled:
            self.changes.add(new, end)
        else:
            self.changes.begin(end)

    def away(self) -> str | None:
        """Return why the history cannot be relied on now, None if it can."""
        if self._kafka_is_away():
            return "Kafka is away"
        if self.follower.trouble is not None:
            return "the history cannot be written: see the log"
        return None if self.follower.ready else "the history is being read from Kafka"

    def _kafka_is_away(self) -> bool:
        return isinstance(self.follower.trouble, KafkaError | OSError)

    def readiness(self) -> dict[str, bool]:
        """Return whether each source can be read."""
        kafka_is_away = self._kafka_is_away()
        is_written = self.follower.trouble is None or kafka_is_away
        return {
            "kafka": not kafka_is_away,
            "history": self.follower.ready and is_written,
            "redis": self.current.trouble is None,
        }


def run(settings: Settings, *, started: Callable[[str], object] = lambda _: None) -> None:
    """Serve until SIGTERM or SIGINT; ``started`` is called with the address once it answers.

    Raises `ServeError` if the address is taken.
    """
    clients = kafka_config(settings)
    check_partition_counts(partition_counts(clients), settings.topic_prefix)
    check_allowed(clients, read=[CHANGES, STATES])
    listening = _listen(settings)
    history = History(settings.serve_data)
    stopping = threading.Event()
    sources = Sources(settings, history)
    reach_redis(lambda: sources.store.deployment())
    stream = ChangesStream(sources.changes, Backlog(clients, history))
    api = Api(CustomerReader(sources.store, sources.current), history, stream, sources.away)
    heartbeat = Heartbeat()
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    threads = [
        threading.Thread(target=sources.follower.follow, args=(stopping,), name="history"),
        threading.Thread(target=sources.current.follow, args=(stopping,), name="state"),
    ]
    metrics = ServeMetrics(
        registry,
        streams=lambda: api.streams.open,
        lag=lambda: math.nan if sources.follower.lag is None else sources.follower.lag,
        size=lambda: settings.serve_data.stat().st_size,
    )
    token = Token(settings.serve_token.get_secret_value())
    site = Site(
        settings, history, sources.reader, lambda: sources.follower.trouble, login=token.is_set
    )
    pages = PageRoutes(site, history, token).routes()
    app = Starlette(
        routes=[*api.routes(), *documentation(), *pages],
        exception_handlers={
            problems.ProblemError: problems.on_problem,
            ClientDisconnect: problems.on_disconnect,
            HTTPException: problems.on_http_error,
            Exception: problems.on_error,
        },
    )
    # Not a middleware of the application, which answers unexpected errors outside of them.
    guard = Guard(app, token, settings.serve_requests_per_second, metrics.answered)
    server = _Server(
        uvicorn.Config(
            guard,
            http=BoundedProtocol,
            log_config=None,
            access_log=False,
            server_header=False,
            backlog=_BACKLOG,
            callback_notify=_beating(heartbeat),
            timeout_notify=BEAT_SECONDS,
            timeout_graceful_shutdown=GRACE_SECONDS,
        ),
        sources.changes.close,
    )

    def leave(signal: str) -> None:
        server.should_exit = True
        log.info("serve ends", signal=signal)

    try:
        with HealthServer(
            settings.http_port,
            registry,
            heartbeat.within(LIVE_SECONDS),
            sources.readiness,
            host=settings.http_host,
        ) as health:
            for each in threads:
                each.start()
            site.start()
            address = _address(listening)
            log.info("serve starts", address=address, port=health.port)
            started(address)
            when_asked_to_end(leave)
            server.run([listening])
    finally:
        stopping.set()
        site.stop()
        for each in threads:
            if each.ident is not None:
                each.join()
        history.close()
    log.info("serve ended")


class _Server(uvicorn.Server):
    """Server that leaves signals to its process, and ends streams before it waits for clients."""

    def __init__(self, config: uvicorn.Config, end_streams: Callable[[], None]) -> None:
        super().__init__(config)
        self._end_streams = end_streams

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Do nothing: uvicorn would raise the signal again at the end."""
        yield

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """End streams, then connections."""
        self._end_streams()
        await super().shutdown(sockets)


def _beating(heartbeat: Heartbeat) -> Callable[[], Awaitable[None]]:
    async def beat() -> None:
        heartbeat.beat()

    return beat


def _listen(settings: Settings) -> socket.socket:
    host, port = settings.serve_host, settings.serve_port
    try:
        [(family, kind, protocol, _, address), *_] = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
        listening = socket.socket(family, kind, protocol)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        # Accepted connections inherit it: the kernel ends those whose peer reads nothing.
        listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, UNSENT_MS)
        listening.bind(address)
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ServeError(
            f"cannot listen on {host}:{port} ({reason}): set {PREFIX}SERVE_HOST to an address of"
            f" this machine, and {PREFIX}SERVE_PORT to a free port, 0 takes any"
        ) from None
    return listening


def _address(listening: socket.socket) -> str:
    host, port = listening.getsockname()[:2]
    return f"http://[{host}]:{port}/" if ":" in host else f"http://{host}:{port}/"
