"""Kafka client configuration, the worker's consumer, Redis client and store, from the settings."""

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

import redis
from kafka import KafkaConsumer
from pydantic import SecretStr
from redis.backoff import NoBackoff
from redis.cluster import ClusterNode
from redis.retry import Retry

from livesegments.config.redis_sentinel import master_client
from livesegments.config.redis_urls import Form, parse
from livesegments.config.sasl import sasl_config
from livesegments.config.settings import Settings
from livesegments.consumers.columnar_reader import ColumnarConsumer
from livesegments.consumers.duplicate_instance import DatedAssignor
from livesegments.store.cluster_pipeline import Client, Cluster
from livesegments.store.partitions import Partitions
from livesegments.topic_prefix import CONFIG, open_consumer


def kafka_config(settings: Settings, bootstrap_seconds: float = 10.0) -> dict[str, Any]:
    """Return the configuration shared by all Kafka clients of a deployment."""
    return {
        "bootstrap_servers": [
            server.strip() for server in settings.kafka_bootstrap_servers.split(",")
        ],
        "client_id": f"livesegments-{settings.instance_id}".rstrip("-"),
        # Taken by the clients of livesegments/topic_prefix.py.
        **({CONFIG: settings.topic_prefix} if settings.topic_prefix else {}),
        "bootstrap_timeout_ms": round(bootstrap_seconds * 1_000),
        # kafka-python waits 100 ms by default, which a takeover would add up; see also RETRY_MS of
        # producers/publisher.py.
        "retry_backoff_ms": 20,
        "reconnect_backoff_max_ms": 1_000,
        "security_protocol": settings.kafka_security_protocol,
        **sasl_config(settings),
        # Paths of files, so that every new connection loads renewed certificates.
        "ssl_check_hostname": settings.kafka_ssl_check_hostname,
        "ssl_cafile": settings.kafka_ssl_cafile or None,
        "ssl_certfile": settings.kafka_ssl_certfile or None,
        "ssl_keyfile": settings.kafka_ssl_keyfile or None,
        "ssl_password": settings.kafka_ssl_key_password.get_secret_value() or None,
    }


def group_consumer(
    settings: Settings,
    started_us: int = 0,
    *,
    config: Mapping[str, Any] | None = None,
    group_id: str = "",
) -> KafkaConsumer:
    """Return the consumer of a worker, by default in the deployment's group.

    It is read_committed, which is also necessary for fetching stable offsets. It never commits or
    resets offsets by itself. The range assignor assigns a worker the same partition numbers of all
    input topics. ``started_us`` is the start of the worker, which other workers see.
    """
    session_ms = round(settings.session_timeout_seconds * 1000)
    return open_consumer(
        ColumnarConsumer,
        **(config or kafka_config(settings)),
        group_id=group_id or settings.group_id,
        partition_assignment_strategy=(DatedAssignor(started_us),),
        isolation_level="read_committed",
        enable_auto_commit=False,
        auto_offset_reset="none",
        allow_auto_create_topics=False,
        max_poll_records=settings.max_poll_records,
        max_poll_interval_ms=round(settings.max_poll_interval_seconds * 1000),
        session_timeout_ms=session_ms,
        heartbeat_interval_ms=max(100, session_ms // 4),
        fetch_max_wait_ms=50,
        max_partition_fetch_bytes=2 * 1024 * 1024,
        # Until added partitions are noticed, their customers are read nowhere.
        metadata_max_age_ms=30_000,
        metrics_enabled=False,
    )


def open_store(settings: Settings, seconds: float = 10.0) -> Partitions:
    """Return the store of a deployment, on a client as `redis_client` returns it."""
    return Partitions(redis_client(settings, seconds), settings.group_id)


def redis_client(settings: Settings, seconds: float = 10.0) -> Client:
    """Return the Redis client, with bounded timeouts and without automatic retries.

    A single-server client connects on first use, a cluster client immediately: it raises
    `RedisError` if no server accepts the connection.
    """
    url = parse(settings.redis_url.get_secret_value())
    given = {
        **_credentials(settings.redis_username, settings.redis_password),
        "ssl_ca_certs": settings.redis_ssl_cafile,
        "ssl_certfile": settings.redis_ssl_certfile,
        "ssl_keyfile": settings.redis_ssl_keyfile,
    }
    options: dict[str, Any] = {
        **{name: value for name, value in given.items() if value},
        # Other connections than TLS do not take it.
        **({} if settings.redis_ssl_check_hostname else {"ssl_check_hostname": False}),
        "protocol": 2,
        "socket_connect_timeout": min(seconds, 5.0),
        "socket_timeout": seconds,
        # A commit that is retried would be rejected the second time: the worker must see the error.
        "retry": Retry(NoBackoff(), 0),
    }
    if url.form is Form.CLUSTER:
        parts = map(urlsplit, url.servers)
        servers = [(each.hostname or "localhost", each.port or 6379) for each in parts]
        return Cluster(
            url=url.servers[0],
            startup_nodes=[ClusterNode(*each) for each in servers],  # type: ignore[no-untyped-call]
            # One moved slot says nothing about the others: livesegments/store/cluster_pipeline.py.
            reinitialize_steps=0,
            **options,
        )
    if url.form is Form.SENTINEL:
        of_sentinels = _credentials(
            settings.redis_sentinel_username, settings.redis_sentinel_password
        )
        return master_client(url, options, of_sentinels)
    return redis.Redis.from_url(url.servers[0], **options)


def _credentials(username: str, password: SecretStr) -> dict[str, str]:
    given = {"username": username, "password": password.get_secret_value()}
    return {name: value for name, value in given.items() if value}
