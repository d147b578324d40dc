"""Open the first connections to Kafka and Redis, to report failures early and precisely.

kafka-python's clients retry every failure, even a wrong password, and finally report only that they
could not bootstrap. The stage that a connection reached says more than its error, which is often
just "socket disconnected": kafka-python 3.0.12 drops the last part of a response that a broker
sends before closing the connection, and with it the reason.
"""

import ssl
import time
from collections.abc import Callable, Sequence
from typing import TypeVar

import kafka.errors
import redis
from kafka.net.connection import KafkaConnection
from kafka.net.manager import KafkaConnectionManager
from kafka.net.selector import NetworkSelector
from redis.exceptions import ClusterError

from livesegments.config import tls
from livesegments.config.clients import kafka_config
from livesegments.config.oauth import TokenError, TokenRefusedError
from livesegments.config.sasl import lacking
from livesegments.config.settings import PREFIX, Settings
from livesegments.consumers.retry import refusal
from livesegments.topic_prefix import without_prefix

PATIENCE_SECONDS = 5.0
ATTEMPT_MS = 3_000
PAUSE_SECONDS = 0.25
AGAIN_SECONDS = 1.0

T = TypeVar("T")
_REDIS_AWAY = (redis.ConnectionError, redis.TimeoutError, ClusterError)
_PROTOCOL = f"{PREFIX}KAFKA_SECURITY_PROTOCOL"
_SERVERS = f"{PREFIX}KAFKA_BOOTSTRAP_SERVERS"
_TOKEN = f"{PREFIX}KAFKA_SASL_OAUTHBEARER_*"


class ReachError(RuntimeError):
    """Kafka is unreachable or rejects the connection; the message names the setting."""


class RefusedError(ReachError):
    """Kafka responds but rejects the connection, so a retry does not help."""


class _SilentError(RuntimeError):
    """A server does not respond; the failure may be temporary."""


def reach_kafka(settings: Settings, patience_seconds: float = PATIENCE_SECONDS) -> None:
    """Connect to a bootstrap server, then to a broker from its metadata.

    Retries for ``patience_seconds`` while no server responds; a rejection ends the attempt at once.

    Raises `ReachError` if no connection succeeds; states the reason.
    """
    if (lack := lacking(settings)) is not None:
        raise RefusedError(lack)
    deadline = time.monotonic() + patience_seconds
    servers = kafka_config(settings)["bootstrap_servers"]
    brokers: list[str] = []
    while not brokers:
        try:
            brokers = _connect_any(servers, settings)
        except _SilentError as error:
            if time.monotonic() > deadline:
                raise ReachError(f"{error} ({_SERVERS})") from None
            time.sleep(PAUSE_SECONDS)
    try:
        _connect_any(brokers, settings)
    except _SilentError as error:
        raise ReachError(
            f"{error}; that is how it is called by {settings.kafka_bootstrap_servers} ({_SERVERS}):"
            " see the broker's advertised.listeners"
        ) from None


def reach_redis(ask: Callable[[], T], patience_seconds: float = PATIENCE_SECONDS) -> T:
    """Query Redis, retrying while it is unavailable, since it may still be starting.

    ``ask`` must be idempotent. A rejection ends the attempt at once.

    Raises
    ------
    RedisError
        The error of the last attempt.
    """
    deadline = time.monotonic() + patience_seconds
    while True:
        try:
            return ask()
        except _REDIS_AWAY as error:
            fault = error.__cause__ or error.__context__
            if refusal(error) or isinstance(fault, ssl.SSLError) or time.monotonic() > deadline:
                raise
        time.sleep(PAUSE_SECONDS)


def check_credentials(settings: Settings) -> None:
    """Check whether a Kafka that no longer serves us rejects us or is only unavailable.

    A broker that dies in the middle of a response looks like a rejection, so two are needed.

    Raises `RefusedError` if it rejects the connection; states the reason.
    """
    for last in (False, True):
        try:
            reach_kafka(settings, 0.0)
        except RefusedError:
            if last:
                raise
            time.sleep(AGAIN_SECONDS)
        except ReachError:
            return
        else:
            return


def _connect_any(servers: Sequence[str], settings: Settings) -> list[str]:
    """Connect to the first server that responds; return the brokers in its metadata."""
    silent = _SilentError("no server is named")
    for server in servers:
        try:
            return _connect(server, settings)
        except _SilentError as error:
            silent = error
    raise silent


def _connect(server: str, settings: Settings) -> list[str]:
    net = NetworkSelector()
    manager = KafkaConnectionManager(
        net, **{**without_prefix(kafka_config(settings)), "bootstrap_servers": [server]}
    )
    [node, *_] = manager.cluster.bootstrap_brokers()
    connection = manager.get_connection(node.node_id, timeout_ms=ATTEMPT_MS, pop_on_close=False)

    async def ask_for_brokers() -> None:
        await connection
        await manager.cluster.refresh_metadata(node.node_id)

    try:
        manager.run(ask_for_brokers)
        return [f"{broker.host}:{broker.port}" for broker in manager.cluster.brokers()]
    except TokenRefusedError as error:
        raise RefusedError(f"{error} ({_TOKEN})") from error
    except TokenError as error:
        raise _SilentError(f"{error} ({_TOKEN})") from error
    except kafka.errors.KafkaError as error:
        refusal = _refusal(error, connection, settings, (node.host, node.port))
        if refusal is not None:
            raise RefusedError(f"Kafka at {server} {refusal}") from error
        why = error.args[0] if error.args else error
        raise _SilentError(f"Kafka at {server} cannot be reached: {why}") from error
    finally:
        manager.close()
        net.close()


def _refusal(
    error: kafka.errors.KafkaError,
    connection: KafkaConnection,
    settings: Settings,
    address: tuple[str, int],
) -> str | None:
    """Return the meaning of a failure, or None if it may be temporary."""
    if isinstance(error, kafka.errors.KafkaTimeoutError | kafka.errors.RequestTimedOutError):
        return None
    protocol = settings.kafka_security_protocol
    faults = (error.__context__, *error.args)
    fault = next((each for each in faults if isinstance(each, ssl.SSLError)), None)
    if fault is not None:
        if isinstance(fault, ssl.SSLCertVerificationError) or "ALERT" in (fault.reason or ""):
            names, certfile = f"{PREFIX}KAFKA_SSL_", settings.kafka_ssl_certfile
            return tls.explain(fault, names, certfile, "wants a client certificate")
        return f"does not speak TLS there ({_PROTOCOL} is {protocol})"
    if connection.broker_version_data is None:  # no request has been answered
        if not protocol.endswith("SSL") and tls.speaks_tls(*address):
            return f"wants TLS there ({_PROTOCOL} is {protocol}: SSL or SASL_SSL)"
        return None
    if isinstance(error, kafka.errors.UnsupportedSaslMechanismError):
        return f"takes no {settings.kafka_sasl_mechanism} ({PREFIX}KAFKA_SASL_MECHANISM)"
    if isinstance(error, kafka.errors.IllegalSaslStateError):
        return f"asks for no password there ({_PROTOCOL} is {protocol})"
    if not protocol.startswith("SASL"):
        return f"hangs up: it may want a password ({_PROTOCOL} is {protocol})"
    if not connection.init_future.succeeded():
        return _refused_credentials(settings)
    return None


def _refused_credentials(settings: Settings) -> str:
    mechanism = settings.kafka_sasl_mechanism
    if mechanism == "OAUTHBEARER":
        client = settings.kafka_sasl_oauthbearer_client_id
        return (
            f"refuses the token of client {client!r} ({PREFIX}KAFKA_SASL_OAUTHBEARER_CLIENT_ID,"
            f" {PREFIX}KAFKA_SASL_OAUTHBEARER_SCOPE, {PREFIX}KAFKA_SASL_OAUTHBEARER_EXTENSIONS)"
        )
    if mechanism in ("AWS_MSK_IAM", "GSSAPI"):
        return f"refuses the credentials of this process ({PREFIX}KAFKA_SASL_MECHANISM={mechanism})"
    return (
        f"refuses user {settings.kafka_sasl_username!r}: wrong user, password or mechanism"
        f" ({PREFIX}KAFKA_SASL_USERNAME, {PREFIX}KAFKA_SASL_PASSWORD,"
        f" {PREFIX}KAFKA_SASL_MECHANISM)"
    )
