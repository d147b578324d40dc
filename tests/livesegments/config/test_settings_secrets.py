"""Secrets come from the environment or a file and are never shown; misspelt names are reported."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from livesegments.config.settings import Settings, SettingsError, describe, load, unread

SASL = {
    "KAFKA_SECURITY_PROTOCOL": "SASL_PLAINTEXT",
    "KAFKA_SASL_MECHANISM": "PLAIN",
    "KAFKA_SASL_USERNAME": "worker",
}


def put(monkeypatch: pytest.MonkeyPatch, **settings: str) -> None:
    for name, value in settings.items():
        monkeypatch.setenv(f"LIVESEGMENTS_{name}", value)


def test_every_secret_can_be_in_a_file() -> None:
    secrets = {name for name, field in Settings.model_fields.items() if "Secret" in str(field)}
    assert len(secrets) == 7
    assert secrets == set(Settings.secrets())
    assert {f"{name}_file" for name in secrets} <= set(Settings.model_fields)


@pytest.mark.parametrize("ending", ["", "\n", "\r\n"])
def test_a_secret_is_what_a_file_holds_without_the_last_newline(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, ending: str
) -> None:
    file = tmp_path / "password"
    file.write_bytes(f" hush hush \n{ending}".encode())
    put(monkeypatch, **SASL, KAFKA_SASL_PASSWORD_FILE=str(file))
    kept = " hush hush " if not ending else " hush hush \n"
    assert load().kafka_sasl_password.get_secret_value() == kept


def test_a_secret_file_may_be_named_in_a_settings_file(tmp_path: Path) -> None:
    secret, settings = tmp_path / "url", tmp_path / "settings.env"
    secret.write_text("redis://:hush@redis:6379/3\n")
    settings.write_text(f"LIVESEGMENTS_REDIS_URL_FILE={secret}\n")
    assert load(settings).redis_url.get_secret_value() == "redis://:hush@redis:6379/3"


@pytest.mark.parametrize("name", [name.upper() for name in Settings.secrets()])
def test_a_secret_given_both_ways_is_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str
) -> None:
    file = tmp_path / "secret"
    file.write_text("hush\n")
    put(monkeypatch, **{name: "redis://:hush@redis:6379/0", f"{name}_FILE": str(file)})
    with pytest.raises(SettingsError, match=f"{name} and LIVESEGMENTS_{name}_FILE") as caught:
        load()
    assert "hush" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "why"), [(b"", "is empty"), (b"\n", "is empty"), (b"\xff\xfe", "not UTF-8")]
)
def test_a_file_that_holds_no_secret_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, content: bytes, why: str
) -> None:
    file = tmp_path / "secret"
    file.write_bytes(content)
    put(monkeypatch, REDIS_PASSWORD_FILE=str(file))
    with pytest.raises(SettingsError, match=f"REDIS_PASSWORD_FILE: {file}.*{why}"):
        load()


def test_no_secret_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    put(monkeypatch, **SASL, KAFKA_SASL_PASSWORD="hush", REDIS_URL="redis://:hush@redis")
    settings = load()
    assert "hush" not in f"{settings!r} {settings} {describe(settings)}"
    shown = {each["name"]: each["value"] for each in describe(settings)}
    assert "***" in shown["LIVESEGMENTS_KAFKA_SASL_PASSWORD"]
    assert shown["LIVESEGMENTS_KAFKA_SSL_KEY_PASSWORD"] == ""
    put(monkeypatch, REDIS_URL="amqp://:hush@redis")
    with pytest.raises(SettingsError, match="must start with redis://") as error:
        load()
    assert "hush" not in str(error.value)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("KAFKA_BOOTSTRAP_SERVER", "is LIVESEGMENTS_KAFKA_BOOTSTRAP_SERVERS meant"),
        ("WINDOWS_DAYS", "is LIVESEGMENTS_WINDOW_DAYS meant"),
        ("COLOUR", "`livesegments settings` has all"),
        ("PURCHASES_TOPIC", "with LIVESEGMENTS_TOPIC_PREFIX in front"),
    ],
)
def test_a_misspelt_variable_is_told_with_the_nearest_name(
    monkeypatch: pytest.MonkeyPatch, name: str, said: str
) -> None:
    put(monkeypatch, **{name: "1"})
    [line] = unread()
    assert line.startswith(f"LIVESEGMENTS_{name} is no setting")
    assert said in line


def test_settings_in_small_letters_and_others_variables_are_not_misspelt(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("livesegments_tiles", "45")
    monkeypatch.setenv("LIVESEGMENT", "1")
    assert load().tiles == 45
    assert unread() == []


def test_a_misspelt_name_is_a_warning_in_the_environment_and_an_error_in_a_file(
    tmp_path: Path,
) -> None:
    file = tmp_path / "settings.env"
    file.write_text("OTHER=1\nLIVESEGMENTS_TILE=45\n")
    command = [sys.executable, "-m", "livesegments.cli"]
    environment = {**os.environ, "LIVESEGMENTS_CURENCY": "EUR"}
    warned = subprocess.run(
        [*command, "settings"], env=environment, capture_output=True, text=True, check=False
    )
    assert warned.returncode == 0
    assert "warning: LIVESEGMENTS_CURENCY is no setting; is LIVESEGMENTS_CURRENCY" in warned.stderr
    refused = subprocess.run(
        [*command, "--env-file", str(file), "settings"], capture_output=True, text=True, check=False
    )
    assert refused.returncode == 2
    assert f"{file}: LIVESEGMENTS_TILE is no setting; is LIVESEGMENTS_TILES" in refused.stderr


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({**SASL}, "LIVESEGMENTS_KAFKA_SASL_PASSWORD is missing"),
        (
            {"REDIS_URL": "redis://worker:hush@redis", "REDIS_PASSWORD": "hush"},
            "LIVESEGMENTS_REDIS_PASSWORD is set, and LIVESEGMENTS_REDIS_URL has one too",
        ),
        (
            {"REDIS_URL": "redis://worker:hush@redis", "REDIS_USERNAME": "worker"},
            "LIVESEGMENTS_REDIS_USERNAME is set, and LIVESEGMENTS_REDIS_URL has one too",
        ),
    ],
)
def test_settings_that_contradict_each_other_are_named(
    monkeypatch: pytest.MonkeyPatch, settings: dict[str, str], said: str
) -> None:
    put(monkeypatch, **settings)
    with pytest.raises(SettingsError, match=said) as caught:
        load()
    assert "hush" not in str(caught.value)
