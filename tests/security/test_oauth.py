"""Kafka authentication by OAuth client credentials; tokens are renewed before they expire."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from livesegments.config.connectivity import ReachError, RefusedError, reach_kafka
from livesegments.config.settings import Settings, load
from livesegments.local_servers import LOOPBACK, free_ports
from tests.load import load as load_of
from tests.security.secured import lower
from tests.sending import Feed
from tests.servers import KafkaServer, RedisServer, fresh_topics
from tests.servers.token_server import TokenServer
from tests.service import Service

pytestmark = pytest.mark.servers

SECRET = "a/b c+d%:e"
LONG = 150.0
"""Longer than a test may take: a refusal must not be retried."""


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KafkaServer]:
    """Kafka that accepts tokens with the scope ``kafka``."""
    listener = "listener.name.sasl_plaintext"
    module = "org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginModule"
    overrides = {
        "sasl.enabled.mechanisms": "OAUTHBEARER",
        f"{listener}.oauthbearer.sasl.jaas.config": f"{module} required"
        ' unsecuredLoginStringClaim_sub="broker" unsecuredValidatorRequiredScope="kafka";',
        "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
        "super.users": "User:ANONYMOUS;User:us",
    }
    folder = tmp_path_factory.mktemp("oauth")
    with KafkaServer(folder, overrides, listeners=("SASL_PLAINTEXT",)) as kafka:
        fresh_topics(kafka.bootstrap)
        yield kafka


@pytest.fixture
def endpoint() -> Iterator[TokenServer]:
    with TokenServer({"us": SECRET}) as server:
        yield server


def given(kafka: KafkaServer, endpoint: TokenServer) -> dict[str, str]:
    return {
        "KAFKA_BOOTSTRAP_SERVERS": f"{LOOPBACK}:{kafka.ports['SASL_PLAINTEXT']}",
        "KAFKA_SECURITY_PROTOCOL": "SASL_PLAINTEXT",
        "KAFKA_SASL_MECHANISM": "OAUTHBEARER",
        "KAFKA_SASL_OAUTHBEARER_TOKEN_ENDPOINT_URL": endpoint.url,
        "KAFKA_SASL_OAUTHBEARER_CLIENT_ID": "us",
        "KAFKA_SASL_OAUTHBEARER_CLIENT_SECRET": SECRET,
        "KAFKA_SASL_OAUTHBEARER_SCOPE": "kafka",
    }


def settings(kafka: KafkaServer, endpoint: TokenServer, **other: str) -> Settings:
    return load(**lower({**given(kafka, endpoint), **other}))


def test_a_token_lets_in_and_is_asked_for_once(guarded: KafkaServer, endpoint: TokenServer) -> None:
    for _ in range(2):
        reach_kafka(settings(guarded, endpoint), LONG)
    assert len(endpoint.requests) == 1


REFUSED: dict[str, tuple[dict[str, str], str]] = {
    "wrong secret": (
        {"KAFKA_SASL_OAUTHBEARER_CLIENT_SECRET": "guess"},
        "refuses client 'us': 401.*invalid_client, wrong id or secret.*KAFKA_SASL_OAUTHBEARER_",
    ),
    "wrong scope": (
        {"KAFKA_SASL_OAUTHBEARER_SCOPE": "other"},
        "refuses the token of client 'us'.*KAFKA_SASL_OAUTHBEARER_SCOPE",
    ),
    "a mechanism that the broker lacks": (
        {
            "KAFKA_SASL_MECHANISM": "SCRAM-SHA-512",
            "KAFKA_SASL_USERNAME": "us",
            "KAFKA_SASL_PASSWORD": "hush",
            **{f"KAFKA_SASL_OAUTHBEARER_{name}": "" for name in ("CLIENT_ID", "SCOPE")},
            "KAFKA_SASL_OAUTHBEARER_TOKEN_ENDPOINT_URL": "",
            "KAFKA_SASL_OAUTHBEARER_CLIENT_SECRET": "",
        },
        "KAFKA_SASL_MECHANISM",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_refusal_is_told_at_once_in_a_line_that_names_the_setting(
    guarded: KafkaServer, endpoint: TokenServer, case: str
) -> None:
    other, said = REFUSED[case]
    with pytest.raises(RefusedError, match=said) as caught:
        reach_kafka(settings(guarded, endpoint, **other), LONG)
    assert "\n" not in str(caught.value)
    assert SECRET not in str(caught.value)


def test_an_endpoint_that_is_away_is_waited_for_and_then_named(
    guarded: KafkaServer, endpoint: TokenServer
) -> None:
    [closed] = free_ports(1)
    away = f"http://{LOOPBACK}:{closed}/token"
    with pytest.raises(ReachError, match=f"{away} cannot be reached.*KAFKA_SASL_OAUTHBEARER_"):
        reach_kafka(
            settings(guarded, endpoint, KAFKA_SASL_OAUTHBEARER_TOKEN_ENDPOINT_URL=away), 0.5
        )
    endpoint.broken = True
    with pytest.raises(ReachError, match="answers 503") as caught:
        reach_kafka(settings(guarded, endpoint), 0.5)
    assert not isinstance(caught.value, RefusedError)


def test_workers_outlive_their_tokens(
    guarded: KafkaServer,
    fresh_redis: RedisServer,
    endpoint: TokenServer,
    tmp_path: Path,
) -> None:
    endpoint.lifetime = 6.0
    service = Service(guarded, fresh_redis, tmp_path, given(guarded, endpoint))
    try:
        workers = [service.start(), service.start()]
        service.wait_for(
            lambda: all("owns partitions" in log.read_text() for log in service.logs), "both own"
        )
        before = [len(log.read_text()) for log in service.logs]
        with Feed(service, load_of) as feed:
            service.wait_for(lambda: service.has_model(), "the model is known")
            ends = time.monotonic() + 3 * endpoint.lifetime
            asked = len(endpoint.requests)
            service.wait_for(lambda: time.monotonic() > ends, "tokens expire")
            assert len(endpoint.requests) > asked + 4
            feed.go_on(500)
        service.wait()
        assert [worker.poll() for worker in workers] == [None, None]
        service.verified()
        since = [log.read_text()[start:] for log, start in zip(service.logs, before, strict=True)]
        assert [line for each in since for line in each.splitlines() if "failed" in line] == []
        endpoint.secrets["us"] = "changed"
        service.wait_for(
            lambda: {worker.poll() for worker in workers} == {1}, "the workers end", 60
        )
        assert "KAFKA_SASL_OAUTHBEARER_" in service.tail()
    finally:
        service.stop()
