"""Unusable certificate files are named before any connection attempt."""

from pathlib import Path
from typing import Any

import pytest

from livesegments.config.settings import SettingsError, load
from tests.servers.certificates import Authority, Certificate

pytestmark = pytest.mark.servers  # needs openssl


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("ca"))


@pytest.fixture(scope="module")
def certificate(authority: Authority) -> Certificate:
    return authority.issue("worker")


def refused(**settings: object) -> str:
    given: dict[str, Any] = {f"kafka_ssl_{name}": str(value) for name, value in settings.items()}
    with pytest.raises(SettingsError) as caught:
        load(kafka_security_protocol="SSL", **given)
    return str(caught.value)


def test_usable_files_are_taken(authority: Authority, certificate: Certificate) -> None:
    load(
        kafka_security_protocol="SSL",
        kafka_ssl_cafile=str(authority.cafile),
        kafka_ssl_certfile=str(certificate.certfile),
        kafka_ssl_keyfile=str(certificate.keyfile),
    )


def test_a_file_that_is_not_there_is_named() -> None:
    said = refused(cafile="/nowhere/ca.pem")
    assert said == "LIVESEGMENTS_KAFKA_SSL_CAFILE: /nowhere/ca.pem: No such file or directory"


def test_a_file_that_holds_something_else_is_named(
    authority: Authority, certificate: Certificate
) -> None:
    assert "KAFKA_SSL_CAFILE" in refused(cafile=certificate.keyfile)
    assert "holds no certificate" in refused(cafile=certificate.keyfile)
    key_only = refused(certfile=certificate.keyfile, keyfile=certificate.keyfile)
    assert f"KAFKA_SSL_CERTFILE: {certificate.keyfile} holds no certificate" in key_only
    no_key = refused(certfile=certificate.certfile)
    assert f"KAFKA_SSL_CERTFILE: {certificate.certfile} holds no private key" in no_key
    not_a_key = refused(certfile=certificate.certfile, keyfile=authority.cafile)
    assert f"KAFKA_SSL_KEYFILE: {authority.cafile} holds no private key" in not_a_key


def test_a_key_of_another_certificate_is_named(
    authority: Authority, certificate: Certificate
) -> None:
    other = authority.issue("other")
    said = refused(certfile=certificate.certfile, keyfile=other.keyfile)
    assert f"KAFKA_SSL_KEYFILE: {other.keyfile} is not the key of {certificate.certfile}" in said


def test_an_encrypted_key_needs_its_password_and_nobody_is_asked_for_it(
    authority: Authority, certificate: Certificate, tmp_path: Path
) -> None:
    key = authority.encrypted_key(certificate, "hush")
    files = {"certfile": certificate.certfile, "keyfile": key}
    assert f"KAFKA_SSL_KEYFILE: {key} is encrypted" in refused(**files)
    said = refused(**files, key_password="guess")
    assert f"KAFKA_SSL_KEY_PASSWORD: does not open {key}" in said
    assert "guess" not in said
    password = tmp_path / "password"
    password.write_text("hush\n")
    load(
        kafka_security_protocol="SASL_SSL",
        kafka_sasl_mechanism="PLAIN",
        kafka_sasl_username="worker",
        kafka_sasl_password="hush",
        kafka_ssl_certfile=str(certificate.certfile),
        kafka_ssl_keyfile=str(key),
        kafka_ssl_key_password_file=str(password),
    )


def test_a_key_or_a_password_alone_is_refused(certificate: Certificate) -> None:
    assert "KAFKA_SSL_KEYFILE needs" in refused(keyfile=certificate.keyfile)
    assert "KAFKA_SSL_KEY_PASSWORD needs" in refused(key_password="hush")


def test_the_files_for_redis_are_looked_at_too(certificate: Certificate) -> None:
    with pytest.raises(SettingsError, match=r"LIVESEGMENTS_REDIS_SSL_CERTFILE: .* no private key"):
        load(redis_url="rediss://redis", redis_ssl_certfile=str(certificate.certfile))
