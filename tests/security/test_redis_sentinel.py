"""Sentinels with and without a password; why no master is named is reported in a line."""

from collections.abc import Iterator

import pytest
from redis.exceptions import RedisError

from livesegments.config.clients import redis_client
from livesegments.config.error_messages import explain
from livesegments.config.settings import Settings, load
from livesegments.consumers.retry import refusal
from livesegments.local_servers import LOOPBACK, free_ports
from livesegments.operations.doctor.redis_server import look_at_redis
from livesegments.store.partitions import Partitions
from tests.servers import RedisSentinels

pytestmark = pytest.mark.servers

HUSH = "of-redis"


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisSentinels]:
    """Servers with a password, and sentinels with the same one."""
    folder = tmp_path_factory.mktemp("guarded")
    with RedisSentinels(folder, password=HUSH, sentinel_password=HUSH) as sentinels:
        yield sentinels


def fault(settings: Settings) -> str:
    with redis_client(settings) as client, pytest.raises(RedisError) as caught:
        client.ping()
    return explain(caught.value, settings)


def writable(settings: Settings) -> bool:
    with redis_client(settings) as client:
        return Partitions(client, "livesegments").writable([0])


def test_the_master_is_found_through_any_sentinel(redis_sentinels: RedisSentinels) -> None:
    redis_sentinels.start()
    [closed] = free_ports(1)
    last = f"{LOOPBACK}:{redis_sentinels.sentinel_ports[-1]}"
    for scheme in ("redis", "valkey"):
        assert writable(load(redis_url=f"{scheme}+sentinel://{LOOPBACK}:{closed},{last}/mymaster"))
    settings = load(redis_url=redis_sentinels.url)
    assert {each.name: each.status for each in look_at_redis(settings)}["redis"] == "ok"
    with redis_client(settings) as client:
        assert list(Partitions(client, "livesegments").times([0])) == ["Redis mymaster"]


def test_sentinels_that_want_a_password_get_that_of_redis_or_their_own(
    guarded: RedisSentinels,
) -> None:
    assert writable(load(redis_url=guarded.url))
    assert writable(load(redis_url=guarded.url, redis_sentinel_password=HUSH))


def test_a_wrong_password_of_redis_is_not_taken_for_that_of_the_sentinels(
    redis_sentinels: RedisSentinels, guarded: RedisSentinels
) -> None:
    wrong = load(redis_url=guarded.url.replace(HUSH, "guess"), redis_sentinel_password=HUSH)
    assert "refuses user 'default' (LIVESEGMENTS_REDIS_URL)" in fault(wrong)


def test_why_there_is_no_master_is_told(
    guarded: RedisSentinels, redis_sentinels: RedisSentinels
) -> None:
    redis_sentinels.start()
    said = fault(load(redis_url=redis_sentinels.url.replace("mymaster", "other")))
    assert "names no master (LIVESEGMENTS_REDIS_URL)" in said
    assert "watches no master 'other', but 'mymaster'" in said
    [closed] = free_ports(1)
    away = load(redis_url=f"redis+sentinel://{LOOPBACK}:{closed}/mymaster")
    assert "(LIVESEGMENTS_REDIS_URL): ConnectionError" in fault(away)


def test_sentinels_that_refuse_are_no_outage(guarded: RedisSentinels) -> None:
    wrong = load(redis_url=guarded.url.replace(HUSH, "guess"))
    said = fault(wrong)
    assert "refuses the password (LIVESEGMENTS_REDIS_SENTINEL_PASSWORD)" in said
    assert "guess" not in said
    with redis_client(wrong) as client, pytest.raises(RedisError) as caught:
        client.ping()
    assert refusal(caught.value) is not None
