"""A worker whose password is revoked while it works says so and exits; nothing is lost."""

import pytest
import redis
from kafka.admin import (
    KafkaAdminClient,
    ScramMechanism,
    UserScramCredentialDeletion,
    UserScramCredentialUpsertion,
)

from tests.load import load
from tests.security.secured import Secured, password_of
from tests.service import Service

pytestmark = [pytest.mark.servers, pytest.mark.timeout(300)]

MECHANISM = ScramMechanism.SCRAM_SHA_512


def alter(secured: Secured, alteration: object) -> None:
    with KafkaAdminClient(bootstrap_servers=secured.kafka.bootstrap) as admin:
        admin.alter_user_scram_credentials([alteration])


def goes_on(service: Service) -> None:
    """Check that a readmitted worker catches up without loss."""
    service.start()
    service.wait()
    service.verified()


def test_a_worker_whose_user_kafka_has_lost_ends_and_names_it(
    secured: Secured, service: Service
) -> None:
    worker = service.start()
    service.send(load(1_000))
    service.wait()
    alter(secured, UserScramCredentialDeletion("worker", MECHANISM))
    try:
        # Existing connections stay open until the broker closes them.
        secured.kafka.restart()
        service.send(load(500, first=1_000))
        assert worker.wait(90) == 1
    finally:
        alter(secured, UserScramCredentialUpsertion("worker", MECHANISM, password_of("worker")))
    said = service.tail(1)
    assert "refuses user 'worker'" in said
    assert "LIVESEGMENTS_KAFKA_SASL_PASSWORD" in said
    assert password_of("worker") not in service.logs[0].read_text()
    goes_on(service)


def test_a_worker_whose_user_redis_has_turned_off_ends_and_names_it(
    secured: Secured, service: Service
) -> None:
    worker = service.start()
    service.send(load(1_000))
    service.wait()
    with redis.Redis.from_url(secured.redis.url) as administrator:
        administrator.acl_setuser("worker", enabled=False)
        try:
            administrator.client_kill_filter(user="worker")
            service.send(load(500, first=1_000))
            assert worker.wait(60) == 1
        finally:
            administrator.acl_load()
    said = service.tail(1)
    assert "Redis refuses user 'worker' (LIVESEGMENTS_REDIS_PASSWORD)" in said
    assert password_of("worker") not in service.logs[0].read_text()
    goes_on(service)
