"""Servers with authentication, one set for the whole run."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.security.secured import (
    ROLES,
    Secured,
    documented_acls,
    documented_redis_users,
    password_of,
)
from tests.servers import fresh_topics
from tests.servers.certificates import Authority
from tests.servers.kafka_server import data_folder
from tests.servers.secure import SecureKafka, SecureRedis
from tests.service import Service


@pytest.fixture(scope="session")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secured]:
    """Kafka and Redis with the users of docs/security.md; in Kafka they have no rights so far."""
    folder = tmp_path_factory.mktemp("secured")
    authority, stranger = Authority(folder / "ca"), Authority(folder / "stranger")
    passwords = {role: password_of(role) for role in ROLES}
    # The tests' own listener, without a password.
    users = ["user default on nopass ~* &* +@all", *documented_redis_users()]
    with (
        data_folder() as data,
        SecureKafka(folder / "kafka", authority, passwords, data=data) as kafka,
        SecureRedis(folder / "redis", authority, users) as redis_server,
    ):
        yield Secured(
            kafka,
            redis_server,
            authority,
            stranger,
            authority.issue("worker"),
            stranger.issue("worker"),
        )


@pytest.fixture
def service(secured: Secured, tmp_path: Path) -> Iterator[Service]:
    """Workers with the role ``worker``; tests produce and read over the open listeners."""
    fresh_topics(secured.kafka.bootstrap)
    secured.redis.flush()
    secured.allow(documented_acls())
    settings = {**secured.sasl("worker"), **secured.store("worker")}
    service = Service(secured.kafka, secured.redis, tmp_path, settings)
    yield service
    service.stop()


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """An issuer of certificates."""
    return Authority(tmp_path_factory.mktemp("ca"))
