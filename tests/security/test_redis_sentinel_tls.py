"""Redis Sentinel over TLS: the sentinels and the master, before and after a failover."""

from collections.abc import Iterator

import pytest
from redis.exceptions import RedisError

from livesegments.config.clients import redis_client
from livesegments.config.error_messages import explain
from livesegments.config.settings import Settings, load
from livesegments.store.partitions import Partitions
from tests.servers import RedisSentinels
from tests.servers.certificates import Authority
from tests.servers.process import wait_until

pytestmark = pytest.mark.servers


@pytest.fixture(scope="module")
def sentinels(
    tmp_path_factory: pytest.TempPathFactory, authority: Authority
) -> Iterator[RedisSentinels]:
    with RedisSentinels(tmp_path_factory.mktemp("sentinels"), authority=authority) as running:
        yield running


def settings(sentinels: RedisSentinels, ca: Authority, authority: Authority) -> Settings:
    certificate = authority.issue("worker")
    return load(
        redis_url=sentinels.secure_url,
        redis_ssl_cafile=str(ca.cafile),
        redis_ssl_certfile=str(certificate.certfile),
        redis_ssl_keyfile=str(certificate.keyfile),
    )


def test_writes_go_on_after_a_failover(sentinels: RedisSentinels, authority: Authority) -> None:
    with redis_client(settings(sentinels, authority, authority)) as client:
        store = Partitions(client, "livesegments")
        assert store.writable([0])
        assert client.connection_pool.connection_kwargs["ssl_ca_certs"] == str(authority.cafile)
        old = sentinels.master()
        sentinels.fail_over()
        wait_until(lambda: sentinels.role(old) == "slave", 30, "the old master leads")
        wait_until(lambda: store.writable([0]), 30, "no write")
        assert sentinels.master() is not old


def test_sentinels_that_another_authority_signed_are_refused(
    sentinels: RedisSentinels, authority: Authority, tmp_path_factory: pytest.TempPathFactory
) -> None:
    stranger = Authority(tmp_path_factory.mktemp("stranger"))
    wrong = settings(sentinels, stranger, authority)
    with redis_client(wrong) as client, pytest.raises(RedisError) as caught:
        client.ping()
    assert "(LIVESEGMENTS_REDIS_SSL_CAFILE)" in explain(caught.value, wrong)
