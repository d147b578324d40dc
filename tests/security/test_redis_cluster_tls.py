"""A Redis Cluster over TLS: the servers it announces are contacted over TLS as well."""

from collections.abc import Iterator

import pytest
from redis.exceptions import RedisError

from livesegments.config.clients import redis_client
from livesegments.config.error_messages import explain
from livesegments.config.settings import Settings, load
from livesegments.store.checkpoint import Checkpoint
from livesegments.store.cluster_pipeline import Cluster
from livesegments.store.deployment import Deployment
from livesegments.store.partitions import Commit, Partitions
from tests.security.secured import documented_redis_users, password_of
from tests.servers.certificates import Authority, Certificate
from tests.servers.redis_cluster import MASTERS
from tests.servers.secure import SecureCluster

pytestmark = pytest.mark.servers

PARTITIONS = 6
DEPLOYMENT = Deployment(PARTITIONS, 90, 30, "USD", 0, ("a", "b"), ("spend",))


@pytest.fixture(scope="module")
def cluster(
    tmp_path_factory: pytest.TempPathFactory, authority: Authority
) -> Iterator[SecureCluster]:
    users = ["user default on nopass ~* &* +@all", *documented_redis_users()]
    with SecureCluster(tmp_path_factory.mktemp("cluster"), authority, users) as running:
        yield running


def settings(cluster: SecureCluster, ca: Authority, certificate: Certificate) -> Settings:
    return load(
        redis_url=cluster.secure_url,
        redis_username="worker",
        redis_password=password_of("worker"),
        redis_ssl_cafile=str(ca.cafile),
        redis_ssl_certfile=str(certificate.certfile),
        redis_ssl_keyfile=str(certificate.keyfile),
    )


def test_a_worker_commits_on_every_master_over_tls(
    cluster: SecureCluster, authority: Authority
) -> None:
    with redis_client(settings(cluster, authority, authority.issue("worker"))) as client:
        assert Partitions(client, "livesegments").writable(range(PARTITIONS))
        store = Partitions(client, "livesegments")
        store.try_commands(PARTITIONS)
        store.agree(DEPLOYMENT)
        first = Checkpoint(version=1, nonce="a")
        commits = [Commit(p, None, first, records={"c": b"r"}) for p in range(PARTITIONS)]
        assert store.commit(commits) == [True] * PARTITIONS
        assert store.sizes(range(PARTITIONS)) == [1] * PARTITIONS
        assert isinstance(client, Cluster)
        asked = {int(name.rpartition(":")[2]) for name in client.masters()}
        assert asked == set(cluster.tls_ports[:MASTERS])


def test_a_cluster_that_another_authority_signed_is_refused(
    cluster: SecureCluster, authority: Authority, tmp_path_factory: pytest.TempPathFactory
) -> None:
    stranger = Authority(tmp_path_factory.mktemp("stranger"))
    wrong = settings(cluster, stranger, authority.issue("worker"))
    with pytest.raises(RedisError) as caught:
        redis_client(wrong)
    assert "(LIVESEGMENTS_REDIS_SSL_CAFILE)" in explain(caught.value, wrong)
