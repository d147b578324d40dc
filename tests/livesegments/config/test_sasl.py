"""SASL mechanisms: their settings in any case, and errors that name a missing one."""

import pickle
import sys
from pathlib import Path
from typing import Any

import pytest

from livesegments.config.clients import kafka_config
from livesegments.config.connectivity import RefusedError, reach_kafka
from livesegments.config.oauth import ClientCredentials
from livesegments.config.settings import SettingsError, load

OAUTH: dict[str, Any] = {
    "kafka_security_protocol": "sasl_ssl",
    "kafka_sasl_mechanism": "OAuthBearer",
    "kafka_sasl_oauthbearer_token_endpoint_url": "https://login.example.com/token",
    "kafka_sasl_oauthbearer_client_id": "us",
    "kafka_sasl_oauthbearer_client_secret": "hush",
}


@pytest.mark.parametrize("mechanism", ["scram-sha-512", "Plain", "SCRAM-SHA-256"])
def test_mechanism_and_protocol_are_taken_in_any_case(mechanism: str) -> None:
    settings = load(
        kafka_security_protocol="Sasl_Plaintext",
        kafka_sasl_mechanism=mechanism,
        kafka_sasl_username="us",
        kafka_sasl_password="hush",
    )
    config = kafka_config(settings)
    assert config["security_protocol"] == "SASL_PLAINTEXT"
    assert config["sasl_mechanism"] == mechanism.upper()


@pytest.mark.parametrize("name", [name for name in OAUTH if "bearer_" in name])
def test_what_a_mechanism_needs_is_named(name: str) -> None:
    given = {each: value for each, value in OAUTH.items() if each != name}
    with pytest.raises(SettingsError, match=f"LIVESEGMENTS_{name.upper()} is missing") as caught:
        load(**given)
    assert "KAFKA_SASL_MECHANISM is OAUTHBEARER" in str(caught.value)


def test_a_setting_of_another_mechanism_is_named() -> None:
    with pytest.raises(SettingsError, match=r"KAFKA_SASL_USERNAME is set, and .* OAUTHBEARER"):
        load(**OAUTH, kafka_sasl_username="us")
    with pytest.raises(SettingsError, match=r"KAFKA_SASL_MECHANISM.*to SASL_SSL$"):
        load(kafka_security_protocol="SASL_PLAINTEXT", kafka_sasl_mechanism="aws_msk_iam")


def test_the_secret_may_be_in_a_file(tmp_path: Path) -> None:
    file = tmp_path / "secret"
    file.write_text("hush\n")
    given = {name: value for name, value in OAUTH.items() if not name.endswith("secret")}
    settings = load(**given, kafka_sasl_oauthbearer_client_secret_file=str(file))
    assert settings.kafka_sasl_oauthbearer_client_secret.get_secret_value() == "hush"


def test_all_clients_of_a_process_share_a_token_and_other_processes_get_the_provider() -> None:
    given = {**OAUTH, "kafka_sasl_oauthbearer_extensions": "logicalCluster=lkc-1, poolId=p=2"}
    provider = kafka_config(load(**given))["sasl_oauth_token_provider"]
    assert provider is kafka_config(load(**given))["sasl_oauth_token_provider"]
    assert provider is not kafka_config(load(**OAUTH))["sasl_oauth_token_provider"]
    copy = pickle.loads(pickle.dumps(provider))  # noqa: S301 - our own
    assert isinstance(copy, ClientCredentials)
    assert copy.extensions() == {"logicalCluster": "lkc-1", "poolId": "p=2"}
    assert "hush" not in repr(copy._client)


def test_a_mechanism_whose_package_is_absent_names_the_extra(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "botocore", None)
    monkeypatch.setitem(sys.modules, "botocore.exceptions", None)
    monkeypatch.setitem(sys.modules, "gssapi", None)
    msk = load(kafka_security_protocol="SASL_SSL", kafka_sasl_mechanism="AWS_MSK_IAM")
    with pytest.raises(RefusedError, match=r"livesegments\[aws\].*KAFKA_SASL_MECHANISM"):
        reach_kafka(msk)
    kerberos = load(kafka_security_protocol="SASL_SSL", kafka_sasl_mechanism="gssapi")
    with pytest.raises(RefusedError, match=r"livesegments\[kerberos\].*KAFKA_SASL_MECHANISM"):
        reach_kafka(kerberos)
