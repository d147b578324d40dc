"""Kafka authentication by password or certificate; each kind of failure is reported at once.

A server that is unreachable, and may be about to start, is retried for a while.
"""

import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import redis

from livesegments.config.clients import redis_client
from livesegments.config.connectivity import (
    ReachError,
    RefusedError,
    check_credentials,
    reach_kafka,
    reach_redis,
)
from livesegments.config.settings import load
from livesegments.local_servers import LOOPBACK, free_ports
from tests.security.secured import Secured, lower, password_of
from tests.security.test_redis import REFUSED as REFUSED_BY_REDIS
from tests.servers import RedisServer

pytestmark = pytest.mark.servers

LONG = 150.0
"""Longer than a test may take: a refusal must not be retried."""


def reach(settings: Mapping[str, str], **other: str) -> None:
    reach_kafka(load(**lower({**settings, **other})), LONG)


@pytest.mark.parametrize("mechanism", ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"])
def test_a_password_lets_in(secured: Secured, mechanism: str) -> None:
    reach(secured.sasl("worker", mechanism))


def test_a_certificate_lets_in_with_its_key_apart_inside_or_encrypted(secured: Secured) -> None:
    reach(secured.mutual_tls())
    reach(
        secured.mutual_tls(),
        KAFKA_SSL_CERTFILE=str(secured.certificate.both),
        KAFKA_SSL_KEYFILE="",
    )
    reach(
        secured.mutual_tls(),
        KAFKA_SSL_KEYFILE=str(secured.authority.encrypted_key(secured.certificate, "hush")),
        KAFKA_SSL_KEY_PASSWORD="hush",
    )


def test_a_broker_under_another_name_is_let_pass_only_when_that_is_asked_for(
    secured: Secured,
) -> None:
    elsewhere = f"localhost:{secured.kafka.ports['SASL_SSL']}"
    settings = {**secured.sasl("worker"), "KAFKA_BOOTSTRAP_SERVERS": elsewhere}
    with pytest.raises(ReachError, match=r"'localhost'.*KAFKA_SSL_CHECK_HOSTNAME"):
        reach(settings)
    reach(settings, KAFKA_SSL_CHECK_HOSTNAME="false")


REFUSED: dict[str, tuple[Callable[[Secured], dict[str, str]], str]] = {
    "wrong SCRAM password": (
        lambda s: {**s.sasl("worker"), "KAFKA_SASL_PASSWORD": "guess"},
        "refuses user 'worker'.*KAFKA_SASL_PASSWORD",
    ),
    "wrong PLAIN password": (
        lambda s: {**s.sasl("worker", "PLAIN"), "KAFKA_SASL_PASSWORD": "guess"},
        "refuses user 'worker'.*KAFKA_SASL_PASSWORD",
    ),
    "unknown user": (
        lambda s: {**s.sasl("nobody")},
        "refuses user 'nobody'.*KAFKA_SASL_USERNAME",
    ),
    "an authority that did not sign": (
        lambda s: {**s.sasl("worker"), "KAFKA_SSL_CAFILE": str(s.stranger.cafile)},
        "not trusted.*KAFKA_SSL_CAFILE",
    ),
    "no authority": (
        lambda s: {**s.sasl("worker"), "KAFKA_SSL_CAFILE": ""},
        "not trusted.*KAFKA_SSL_CAFILE",
    ),
    "plain text where TLS is spoken": (
        lambda s: {"KAFKA_BOOTSTRAP_SERVERS": s.sasl("worker")["KAFKA_BOOTSTRAP_SERVERS"]},
        "wants TLS.*KAFKA_SECURITY_PROTOCOL is PLAINTEXT",
    ),
    "a password in plain text where TLS is spoken": (
        lambda s: {
            **s.sasl("worker"),
            "KAFKA_SECURITY_PROTOCOL": "SASL_PLAINTEXT",
            "KAFKA_SSL_CAFILE": "",
        },
        "wants TLS.*KAFKA_SECURITY_PROTOCOL is SASL_PLAINTEXT",
    ),
    "TLS where plain text is spoken": (
        lambda s: {**s.mutual_tls(), "KAFKA_BOOTSTRAP_SERVERS": s.kafka.bootstrap},
        "does not speak TLS.*KAFKA_SECURITY_PROTOCOL is SSL",
    ),
    "no password where one is wanted": (
        lambda s: {
            **s.mutual_tls(),
            "KAFKA_BOOTSTRAP_SERVERS": s.sasl("worker")["KAFKA_BOOTSTRAP_SERVERS"],
        },
        "may want a password.*KAFKA_SECURITY_PROTOCOL is SSL",
    ),
    "a password where none is wanted": (
        lambda s: {
            **s.sasl("worker"),
            "KAFKA_BOOTSTRAP_SERVERS": s.kafka.bootstrap,
            "KAFKA_SECURITY_PROTOCOL": "SASL_PLAINTEXT",
            "KAFKA_SSL_CAFILE": "",
        },
        "asks for no password.*KAFKA_SECURITY_PROTOCOL is SASL_PLAINTEXT",
    ),
    "no certificate where one is wanted": (
        lambda s: {**s.mutual_tls(), "KAFKA_SSL_CERTFILE": "", "KAFKA_SSL_KEYFILE": ""},
        "wants a client certificate.*KAFKA_SSL_CERTFILE",
    ),
    "a certificate that a stranger signed": (
        lambda s: {
            **s.mutual_tls(),
            "KAFKA_SSL_CERTFILE": str(s.foreign.certfile),
            "KAFKA_SSL_KEYFILE": str(s.foreign.keyfile),
        },
        "refuses the certificate.*KAFKA_SSL_CERTFILE",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_refusal_is_told_at_once_in_a_line_that_names_the_setting(
    secured: Secured, case: str
) -> None:
    settings, said = REFUSED[case]
    with pytest.raises(ReachError, match=said) as caught:
        reach(settings(secured))
    assert "\n" not in str(caught.value)
    assert password_of("worker") not in str(caught.value)
    assert "guess" not in str(caught.value)


def test_a_worker_in_its_work_ends_when_refused_and_not_when_kafka_is_away(
    secured: Secured,
) -> None:
    check_credentials(load(**lower(secured.sasl("worker"))))
    check_credentials(load(kafka_bootstrap_servers=f"{LOOPBACK}:{free_ports(1)[0]}"))
    with pytest.raises(RefusedError, match="refuses user 'worker'"):
        check_credentials(load(**lower({**secured.sasl("worker"), "KAFKA_SASL_PASSWORD": "guess"})))


def test_a_server_that_is_away_is_waited_for_and_then_named(secured: Secured) -> None:
    nowhere = f"{LOOPBACK}:{free_ports(1)[0]}"
    settings = load(kafka_bootstrap_servers=nowhere)
    with pytest.raises(ReachError, match=f"{nowhere} cannot be reached.*KAFKA_BOOTSTRAP_SERVERS"):
        reach_kafka(settings, 0.5)
    reach_kafka(load(kafka_bootstrap_servers=f"{nowhere},{secured.kafka.bootstrap}"), 30)


@pytest.fixture
def own_redis(tmp_path: Path) -> Iterator[RedisServer]:
    with RedisServer(tmp_path) as server:
        yield server


def test_a_redis_that_is_about_to_start_is_waited_for(own_redis: RedisServer) -> None:
    own_redis.stop()
    with redis_client(load(redis_url=own_redis.url)) as client, ThreadPoolExecutor() as pool:
        asked = pool.submit(reach_redis, client.ping, 30.0)
        time.sleep(1)
        assert not asked.done()
        own_redis.start()
        assert asked.result()


def test_a_redis_that_stays_away_is_given_up(own_redis: RedisServer) -> None:
    own_redis.stop()
    with redis_client(load(redis_url=own_redis.url)) as client:
        started = time.monotonic()
        with pytest.raises(redis.ConnectionError, match="refused"):
            reach_redis(client.ping, 1.0)
        assert time.monotonic() - started >= 1.0


@pytest.mark.parametrize("case", ["wrong password", "an authority that did not sign"])
def test_a_redis_that_does_not_let_in_is_not_asked_again(secured: Secured, case: str) -> None:
    given, _ = REFUSED_BY_REDIS[case]
    with redis_client(load(**lower(given(secured)))) as client, pytest.raises(redis.RedisError):
        reach_redis(client.ping, LONG)
