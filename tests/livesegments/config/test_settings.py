"""Settings come from the environment or a file; an invalid one is named with the reason."""

from datetime import timedelta
from pathlib import Path

import pytest

from livesegments.config.settings import Settings, SettingsError, describe, load, without_prefix

WRONG = [
    ("CLOCK", "sundial", "'wall' or 'event'"),
    ("WINDOW_DAYS", "ninety", "valid integer"),
    ("WINDOW_DAYS", "0", "greater than or equal to 1"),
    ("TILES", "7", "do not divide a window of 90 days"),
    ("CURRENCY", "dollars", "pattern"),
    ("PARTITIONER", "random", "'murmur2' or 'crc32'"),
    ("CONSENT", "always", "'optional' or 'required'"),
    ("SWITCH_MARGIN", "1", "less than 1"),
    ("SWITCH_MARGIN", "nan", "less than 1"),
    ("WARMUP_CUSTOMERS", "4", "greater than or equal to 5"),
    ("REFIT", "sometimes", "'auto', 'propose' or 'off'"),
    ("REFIT_GAIN", "0", "greater than 0"),
    ("MIN_DWELL", "-3", "must not be negative"),
    ("MIN_DWELL", "-P1D", "must not be negative"),
    ("MIN_DWELL", "a while", "valid timedelta"),
    ("MIN_DWELL", "nan", "valid timedelta"),
    ("MIN_DWELL", "1e300", "valid timedelta"),
    ("HTTP_PORT", "70000", "less than or equal to 65535"),
    ("LOG_FORMAT", "xml", "'auto', 'console' or 'json'"),
    ("LOG_LEVEL", "loud", "'debug', 'info', 'warning' or 'error'"),
    ("GROUP_ID", "a b", "pattern"),
    ("TOPIC_PREFIX", "acme crm.", "pattern"),
    ("INSTANCE_ID", "a/b", "pattern"),
    ("KAFKA_BOOTSTRAP_SERVERS", "kafka:port", "must be host:port"),
    ("REDIS_URL", "http://redis", "must start with redis://"),
    ("KAFKA_SECURITY_PROTOCOL", "TLS", "'PLAINTEXT', 'SSL', 'SASL_PLAINTEXT' or 'SASL_SSL'"),
    ("KAFKA_SECURITY_PROTOCOL", "SASL_SSL", "LIVESEGMENTS_KAFKA_SASL_MECHANISM is missing"),
    ("KAFKA_SASL_MECHANISM", "DIGEST-MD5", "'OAUTHBEARER', 'AWS_MSK_IAM' or 'GSSAPI'"),
    ("KAFKA_SASL_OAUTHBEARER_TOKEN_ENDPOINT_URL", "login.example.com/token", "https:// or http://"),
    ("KAFKA_SASL_OAUTHBEARER_CLIENT_ID", "us", "SASL_SSL or SASL_PLAINTEXT"),
    ("KAFKA_SASL_OAUTHBEARER_CLIENT_SECRET", "hush", "SASL_SSL or SASL_PLAINTEXT"),
    ("KAFKA_SASL_OAUTHBEARER_CLIENT_SECRET_FILE", "/nowhere/secret", "No such file"),
    ("KAFKA_SASL_OAUTHBEARER_SCOPE", "kafka", "SASL_SSL or SASL_PLAINTEXT"),
    ("KAFKA_SASL_OAUTHBEARER_EXTENSIONS", "auth=1", "name=value"),
    ("KAFKA_SASL_KERBEROS_SERVICE_NAME", "broker", "SASL_SSL or SASL_PLAINTEXT"),
    ("KAFKA_SASL_KERBEROS_DOMAIN_NAME", "example.com", "SASL_SSL or SASL_PLAINTEXT"),
    ("REDIS_SENTINEL_USERNAME", "us", "redis+sentinel://"),
    ("REDIS_SENTINEL_PASSWORD", "hush", "redis+sentinel://"),
    ("REDIS_SENTINEL_PASSWORD_FILE", "/nowhere/secret", "No such file"),
    ("REDIS_SSL_CHECK_HOSTNAME", "false", "rediss://"),
    ("KAFKA_SASL_MECHANISM", "PLAIN", "set that to SASL_SSL or SASL_PLAINTEXT"),
    ("KAFKA_SASL_USERNAME", "worker", "set that to SASL_SSL or SASL_PLAINTEXT"),
    ("KAFKA_SASL_PASSWORD", "hush", "set that to SASL_SSL or SASL_PLAINTEXT"),
    ("KAFKA_SASL_PASSWORD_FILE", "nowhere", "nowhere: No such file"),
    ("KAFKA_SSL_CAFILE", "ca.pem", "set that to SSL or SASL_SSL"),
    ("KAFKA_SSL_CERTFILE", "worker.pem", "set that to SSL or SASL_SSL"),
    ("KAFKA_SSL_KEYFILE", "worker.key", "set that to SSL or SASL_SSL"),
    ("KAFKA_SSL_KEY_PASSWORD", "hush", "set that to SSL or SASL_SSL"),
    ("KAFKA_SSL_KEY_PASSWORD_FILE", "nowhere", "nowhere: No such file"),
    ("KAFKA_SSL_CHECK_HOSTNAME", "perhaps", "valid boolean"),
    ("REDIS_URL_FILE", "nowhere", "nowhere: No such file"),
    ("REDIS_USERNAME", "worker", "needs LIVESEGMENTS_REDIS_PASSWORD"),
    ("REDIS_PASSWORD_FILE", "nowhere", "nowhere: No such file"),
    ("REDIS_SSL_CAFILE", "ca.pem", "LIVESEGMENTS_REDIS_URL with rediss://"),
    ("REDIS_SSL_CERTFILE", "worker.pem", "LIVESEGMENTS_REDIS_URL with rediss://"),
    ("REDIS_SSL_KEYFILE", "worker.key", "LIVESEGMENTS_REDIS_URL with rediss://"),
    ("MAX_POLL_RECORDS", "0", "greater than or equal to 1"),
    ("SESSION_TIMEOUT_SECONDS", "500", "below LIVESEGMENTS_MAX_POLL_INTERVAL_SECONDS"),
    ("MAX_POLL_INTERVAL_SECONDS", "1", "greater than or equal to 20"),
    ("DEFINITIONS_SECONDS", "0", "greater than 0"),
    ("SWEEP_CUSTOMERS", "0", "greater than or equal to 1"),
    ("DEDUP_EVENTS", "-1", "greater than or equal to 0"),
    ("DEDUP_EVENTS", "67108865", "less than or equal to 67108864"),
    ("RETENTION_DAYS", "-1", "greater than or equal to"),
    ("RETENTION_DAYS", "9999999999", "less than or equal to"),
    ("RETENTION_DAYS", "89", "less than the window of 90 days"),
    ("MAX_CHANGES_PER_SECOND", "-1", "greater than or equal to 0"),
    ("SERVE_PORT", "70000", "less than or equal to 65535"),
    ("SERVE_TOKEN", "short", "at least 16 ASCII characters"),
    ("SERVE_TOKEN", "with blanks in between", "at least 16 ASCII characters"),
    ("SERVE_TOKEN_FILE", "nowhere", "nowhere: No such file"),
    ("SERVE_REQUESTS_PER_SECOND", "-1", "greater than or equal to 0"),
    ("SEGMENTATION", "/nowhere.toml", "/nowhere.toml: No such file"),
]
"""Name, value, and why it is wrong."""


def test_the_defaults_are_those_of_the_documents() -> None:
    settings = load()
    assert (settings.group_id, settings.clock, settings.currency) == ("livesegments", "wall", "USD")
    assert (settings.window_days, settings.tiles, settings.http_port) == (90, 30, 9108)
    assert settings.switch_margin == 0.15
    assert settings.min_dwell == timedelta(0)


@pytest.mark.parametrize(("name", "value", "why"), WRONG)
def test_a_wrong_setting_is_named_with_the_reason(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, why: str
) -> None:
    monkeypatch.setenv(f"LIVESEGMENTS_{name}", value)
    with pytest.raises(SettingsError) as error:
        load()
    assert f"LIVESEGMENTS_{name}" in str(error.value)
    assert why in str(error.value)


def test_every_setting_that_can_be_wrong_is_tried() -> None:
    # Only a process that starts knows whether an address can be bound, or a file be written; any
    # password may be right.
    assert {name for name, _, _ in WRONG} == {n.upper() for n in Settings.model_fields} - {
        *("HTTP_HOST", "REDIS_PASSWORD", "SERVE_HOST", "SERVE_DATA"),
    }


def test_a_wrong_setting_in_a_file_is_named_too(tmp_path: Path) -> None:
    file = tmp_path / "settings.env"
    file.write_text("# ours\nLIVESEGMENTS_TILES=many\n\nLIVESEGMENTS_CLOCK='event'\n")
    with pytest.raises(SettingsError, match=r"^LIVESEGMENTS_TILES: .*valid integer.*'many'"):
        load(file)
    file.write_text("# ours\n\nLIVESEGMENTS_CLOCK='event'\n")
    assert load(file).clock == "event"


@pytest.mark.parametrize("line", ["LIVESEGMENTS_CURRENCY: EUR", 'LIVESEGMENTS_CURRENCY="EUR'])
def test_a_line_that_is_no_setting_is_named(tmp_path: Path, line: str) -> None:
    file = tmp_path / "settings.env"
    file.write_text(f"# ours\nLIVESEGMENTS_CLOCK=event\n{line}\n")
    with pytest.raises(SettingsError, match=r"settings\.env, line 3: must be NAME=value"):
        load(file)


def test_settings_without_the_prefix_in_a_file_are_named(tmp_path: Path) -> None:
    file = tmp_path / "settings.env"
    file.write_text("CURRENCY=EUR\nREDIS_URL=x\nLIVESEGMENTS_REDIS_URL=redis://r\nHOME=/\n")
    [said] = without_prefix(file)
    assert "CURRENCY is not read; is LIVESEGMENTS_CURRENCY meant?" in said


def test_every_wrong_setting_is_told_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LIVESEGMENTS_CLOCK", "x")
    monkeypatch.setenv("LIVESEGMENTS_TILES", "x")
    with pytest.raises(SettingsError, match=r"CLOCK(.|\n)*TILES"):
        load()


def test_the_environment_wins_over_the_file(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    file = tmp_path / "settings.env"
    file.write_text("LIVESEGMENTS_TILES=45\nLIVESEGMENTS_CURRENCY=EUR\n")
    monkeypatch.setenv("LIVESEGMENTS_CURRENCY", "GBP")
    settings = load(file)
    assert (settings.tiles, settings.currency) == (45, "GBP")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"nowhere\.env: no such file"):
        load(tmp_path / "nowhere.env")


def test_an_empty_setting_counts_as_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LIVESEGMENTS_HTTP_PORT", "")
    assert load().http_port == 9108


@pytest.mark.parametrize(("text", "days"), [("259200", 3), ("P3D", 3), ("P1DT48H", 3), ("0", 0)])
def test_a_dwell_is_seconds_or_a_duration(
    monkeypatch: pytest.MonkeyPatch, text: str, days: int
) -> None:
    monkeypatch.setenv("LIVESEGMENTS_MIN_DWELL", text)
    assert load().min_dwell == timedelta(days=days)


def test_every_setting_has_a_description() -> None:
    assert all(each["description"] for each in describe(load()))
