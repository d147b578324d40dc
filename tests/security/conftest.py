"""Servers with authentication, one set for the whole run."""

from collections.abc import Iterator

import pytest

from tests.security.secured import ROLES, Secured, documented_redis_users, password_of
from tests.servers.certificates import Authority
from tests.servers.secure import SecureKafka, SecureRedis


@pytest.fixture(scope="session")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secured]:
    """Kafka and Redis with the users of docs/security.md; in Kafka they have no rights so far."""
    folder = tmp_path_factory.mktemp("secured")
    authority, stranger = Authority(folder / "ca"), Authority(folder / "stranger")
    passwords = {role: password_of(role) for role in ROLES}
    # The tests' own listener, without a password.
    users = ["user default on nopass ~* &* +@all", *documented_redis_users()]
    with (
        SecureKafka(folder / "kafka", authority, passwords) as kafka,
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
