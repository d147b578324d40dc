"""Redis authentication over TLS by user and password; each kind of failure is reported."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import redis
from redis.exceptions import NoPermissionError, RedisError

from livesegments.config.clients import redis_client
from livesegments.config.error_messages import explain
from livesegments.config.settings import load
from livesegments.consumers.retry import refusal
from livesegments.local_servers import LOOPBACK
from livesegments.store.checkpoint import Checkpoint
from livesegments.store.partitions import Commit, Partitions
from tests.security.secured import Secured, lower, password_of

pytestmark = pytest.mark.servers


def plain(secured: Secured, scheme: str, port: int) -> dict[str, str]:
    return {"REDIS_URL": f"{scheme}://{LOOPBACK}:{port}/0"}


REFUSED: dict[str, tuple[Callable[[Secured], dict[str, str]], str]] = {
    "wrong password": (
        lambda s: {**s.store("worker"), "REDIS_PASSWORD": "guess"},
        "refuses user 'worker' (LIVESEGMENTS_REDIS_PASSWORD)",
    ),
    "wrong password in the URL": (
        lambda s: {
            **s.store("worker"),
            "REDIS_URL": f"rediss://worker:guess@{LOOPBACK}:{s.redis.tls_port}/0",
            "REDIS_USERNAME": "",
            "REDIS_PASSWORD": "",
        },
        "refuses user 'worker' (LIVESEGMENTS_REDIS_URL)",
    ),
    "an authority that did not sign": (
        lambda s: {**s.store("worker"), "REDIS_SSL_CAFILE": str(s.stranger.cafile)},
        "(LIVESEGMENTS_REDIS_SSL_CAFILE)",
    ),
    "another host name": (
        lambda s: {**s.store("worker"), "REDIS_URL": f"rediss://localhost:{s.redis.tls_port}/0"},
        "(LIVESEGMENTS_REDIS_SSL_CHECK_HOSTNAME)",
    ),
    "no certificate where one is wanted": (
        lambda s: {**s.store("worker"), "REDIS_SSL_CERTFILE": ""},
        "may want a client certificate (LIVESEGMENTS_REDIS_SSL_CERTFILE)",
    ),
    "a certificate that a stranger signed": (
        lambda s: {**s.store("worker"), "REDIS_SSL_CERTFILE": str(s.foreign.both)},
        "refuses the certificate",
    ),
    "plain text where TLS is spoken": (
        lambda s: plain(s, "redis", s.redis.tls_port),
        "wants TLS there: write rediss:// (LIVESEGMENTS_REDIS_URL)",
    ),
    "TLS where plain text is spoken": (
        lambda s: plain(s, "rediss", s.redis.port),
        "does not speak TLS there: write redis:// (LIVESEGMENTS_REDIS_URL)",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_refusal_is_one_line_that_names_the_setting(secured: Secured, case: str) -> None:
    given, said = REFUSED[case]
    settings = load(**lower(given(secured)))
    with redis_client(settings) as client, pytest.raises(RedisError) as caught:
        client.ping()
    line = explain(caught.value, settings)
    assert said in line
    assert "\n" not in line
    assert "guess" not in line
    assert password_of("worker") not in line


def test_another_host_name_passes_only_when_that_is_asked_for(secured: Secured) -> None:
    given = {
        **secured.store("worker"),
        "REDIS_URL": f"valkeys://localhost:{secured.redis.tls_port}/0",
        "REDIS_SSL_CHECK_HOSTNAME": "false",
    }
    with redis_client(load(**lower(given))) as client:
        assert client.get("livesegments:deployment-of-none") is None


def test_the_user_may_be_in_the_url_and_the_password_in_a_file(
    secured: Secured, administrator: "redis.Redis", tmp_path: Path
) -> None:
    file = tmp_path / "password"
    file.write_text(password_of("worker") + "\n")
    given = {
        **secured.store("worker"),
        "REDIS_URL": f"rediss://worker@{LOOPBACK}:{secured.redis.tls_port}/0",
        "REDIS_USERNAME": "",
        "REDIS_PASSWORD": "",
        "REDIS_PASSWORD_FILE": str(file),
    }
    with redis_client(load(**lower(given))) as client:
        assert client.hgetall("livesegments:deployment") == {}


@pytest.fixture
def administrator(secured: Secured) -> Iterator["redis.Redis"]:
    """A client that may change users' rights; its changes are undone."""
    secured.redis.flush()
    with redis.Redis.from_url(secured.redis.url) as client:
        yield client
        client.acl_load()


@pytest.mark.parametrize("name", ["type", "unlink", "hset", "hmget", "hdel", "setrange"])
def test_a_command_that_the_commit_lacks_is_found_before_anything_is_written(
    secured: Secured, administrator: "redis.Redis", name: str
) -> None:
    administrator.acl_setuser("worker", enabled=True, commands=[f"-{name}"])
    settings = load(**lower(secured.store("worker")))
    with redis_client(settings) as client:
        store = Partitions(client, settings.group_id)
        with pytest.raises(NoPermissionError, match=name) as caught:
            store.try_commands(1)
    assert "LIVESEGMENTS_REDIS_USERNAME" in explain(caught.value, settings)


def test_commands_that_the_script_lacks_are_a_refusal_and_no_outage(
    secured: Secured, administrator: "redis.Redis"
) -> None:
    administrator.acl_setuser("worker", enabled=True, commands=["-setrange"])
    settings = load(**lower(secured.store("worker")))
    commit = Commit(0, None, Checkpoint(version=1, nonce="a"), ring=[(0, b"12345678")])
    with redis_client(settings) as client, pytest.raises(RedisError) as caught:
        Partitions(client, settings.group_id).commit([commit])
    assert refusal(caught.value) is not None


def test_keys_of_another_deployment_are_out_of_reach(secured: Secured) -> None:
    settings = load(**lower(secured.store("worker")), group_id="other")
    with redis_client(settings) as client, pytest.raises(NoPermissionError) as caught:
        Partitions(client, settings.group_id).try_commands(1)
    assert "other:{0}:trial" in explain(caught.value, settings)
