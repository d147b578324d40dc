"""Settings of server addresses: invalid values are rejected, and no password is shown."""

from pathlib import Path

import pytest

from livesegments.config.settings import PREFIX, SettingsError, load


def refused(monkeypatch: pytest.MonkeyPatch, **wrong: str) -> str:
    """Return the error message for invalid settings."""
    for name, value in wrong.items():
        monkeypatch.setenv(f"{PREFIX}{name}", value)
    with pytest.raises(SettingsError) as caught:
        load()
    return str(caught.value)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("KAFKA_BOOTSTRAP_SERVERS", "localhost:abc"),
        ("KAFKA_BOOTSTRAP_SERVERS", "localhost:99999"),
        ("KAFKA_BOOTSTRAP_SERVERS", "a:1,,b:2"),
        ("KAFKA_BOOTSTRAP_SERVERS", ":9092"),
        ("REDIS_URL", "redis://localhost:port"),
        ("REDIS_URL", "redis://[::1"),
        ("REDIS_URL", "redis://localhost:6379/customers"),
        ("REDIS_URL", "redis://localhost:6379/1/2"),
        ("REDIS_URL", "redis://localhost:6379/-1"),
        ("REDIS_URL", "redis://localhost:6379/0?colour=red"),
        ("REDIS_URL", "redis://localhost:6379/0?socket_timeout=soon"),
        ("REDIS_URL", "rediss://localhost:6379/0?ssl_cert_reqs=perhaps"),
        ("REDIS_URL", "unix:///tmp/redis.sock?port=6379"),
        ("REDIS_URL", "redis+cluster://a:7000,b:port"),
        ("REDIS_URL", "redis+cluster://a:7000,b:7001/1"),
        ("REDIS_URL", "unix+cluster:///tmp/redis.sock"),
        ("REDIS_URL", "redis+sentinel://a:26379,b:26379"),
        ("REDIS_URL", "redis+sentinel://a:26379/0/mymaster"),
        ("REDIS_URL", "redis+sentinel://a:26379/mymaster/first"),
        ("REDIS_URL", "redis+sentinel://a:26379/?db=0"),
        ("REDIS_URL", "valkeys+cluster://a:7000/1"),
        ("REDIS_URL", "keydb://a:6379"),
    ],
)
def test_servers_that_cannot_be_meant_are_refused(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    assert f"{PREFIX}{name}" in refused(monkeypatch, **{name: value})


@pytest.mark.parametrize(
    "servers", ["k:9092", "k", "a:1, b:2", "[::1]:9092", "[::1]", "10.0.0.1:1"]
)
def test_brokers_may_be_written_as_kafka_clients_take_them(
    monkeypatch: pytest.MonkeyPatch, servers: str
) -> None:
    monkeypatch.setenv("LIVESEGMENTS_KAFKA_BOOTSTRAP_SERVERS", servers)
    assert load().kafka_bootstrap_servers == servers


@pytest.mark.parametrize(
    "url",
    [
        "redis://localhost",
        "redis://localhost/",
        "redis://user:word@[::1]:6379/15",
        "rediss://localhost:6380/0?ssl_cert_reqs=none&health_check_interval=5",
        "unix:///tmp/redis.sock?db=2",
        "redis+cluster://localhost:7000",
        "rediss+cluster://user:word@a:7000,[::1]:7001,c/0?ssl_cert_reqs=none",
        "redis+sentinel://:example@redis-node-0:26379,redis-node-1:26379,redis-node-2/mymaster/0",
        "rediss+sentinel://user:word@[::1]:26379/my.master-1?health_check_interval=5",
        "valkey://localhost:6379/0",
        "valkeys://user:word@a:6379",
        "valkey+cluster://a:7000,b:7000",
        "valkeys+sentinel://a:26379/mymaster/2",
    ],
)
def test_a_store_may_be_written_as_redis_clients_take_it(
    monkeypatch: pytest.MonkeyPatch, url: str
) -> None:
    monkeypatch.setenv("LIVESEGMENTS_REDIS_URL", url)
    assert load().redis_url.get_secret_value() == url


@pytest.mark.parametrize("mark", ["1/", "1?", "1#", "/", "?", "#"])
@pytest.mark.parametrize(
    "url",
    [
        "redis://:hush{}hush@localhost:6379",
        "redis+cluster://name:{}hush=hush@a:6379,b:6379",
        "redis+sentinel://:{}hush=hush@a:26379/mymaster/0",
    ],
)
def test_of_a_password_that_breaks_the_url_nothing_is_told(
    monkeypatch: pytest.MonkeyPatch, url: str, mark: str
) -> None:
    said = refused(monkeypatch, REDIS_URL=url.format(mark))
    assert "hush" not in said
    assert "%2F" in said


@pytest.mark.parametrize("start", ["1/", "1?", "1#"])
def test_nor_is_it_when_the_password_begins_like_a_port(
    monkeypatch: pytest.MonkeyPatch, start: str
) -> None:
    said = refused(monkeypatch, REDIS_URL=f"redis://name:{start}hush=hush@localhost:6379")
    assert "hush" not in said
    assert "%2F" in said


def test_a_password_written_in_percent_codes_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    url = "redis://:a%2Fb%40c@localhost:6379/0"
    monkeypatch.setenv("LIVESEGMENTS_REDIS_URL", url)
    assert load().redis_url.get_secret_value() == url


def test_a_settings_file_that_is_no_text_is_named(tmp_path: Path) -> None:
    file = tmp_path / "settings"
    file.write_bytes(b"\xff\xfe=1\n")
    with pytest.raises(SettingsError, match=str(file)):
        load(file)
