"""Settings of the connection to Kafka: address, TLS and the credentials of each SASL mechanism."""

from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import BeforeValidator, Field, SecretStr, field_validator, model_validator

from livesegments.config.server_settings import NO_SECRET, ServerSettings, file_of, named

_OAUTH = "kafka_sasl_oauthbearer_"
_KERBEROS = ("kafka_sasl_kerberos_service_name", "kafka_sasl_kerberos_domain_name")
_PASSWORD = ("kafka_sasl_username", "kafka_sasl_password")
_CLIENT = tuple(f"{_OAUTH}{name}" for name in ("token_endpoint_url", "client_id", "client_secret"))

_NEEDED: dict[str | None, tuple[str, ...]] = {
    **dict.fromkeys(("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"), _PASSWORD),
    "OAUTHBEARER": _CLIENT,
}
"""Settings that a mechanism needs."""
_OPTIONAL: dict[str | None, tuple[str, ...]] = {
    "OAUTHBEARER": (f"{_OAUTH}scope", f"{_OAUTH}extensions"),
    "GSSAPI": _KERBEROS,
}
"""Settings that a mechanism takes in addition."""
_OF_MECHANISMS = (*_PASSWORD, *_CLIENT, *_OPTIONAL["OAUTHBEARER"], *_KERBEROS)


def _upper(value: Any) -> Any:
    return value.upper() if isinstance(value, str) else value


class KafkaSettings(ServerSettings):
    """Addresses and credentials of Kafka; names follow Kafka's own."""

    kafka_bootstrap_servers: str = Field(
        "localhost:9092", min_length=1, description="Kafka brokers: host:port, separated by commas"
    )
    kafka_security_protocol: Annotated[
        Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"], BeforeValidator(_upper)
    ] = Field(
        "PLAINTEXT",
        description="Protocol of the brokers: with SSL they use TLS, with SASL clients log in",
    )
    kafka_sasl_mechanism: Annotated[
        Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "OAUTHBEARER", "AWS_MSK_IAM", "GSSAPI"]
        | None,
        BeforeValidator(_upper),
    ] = Field(
        None,
        description="How clients authenticate: PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512"
        " (user and password), OAUTHBEARER (OAuth client credentials), AWS_MSK_IAM (AWS"
        " credentials), GSSAPI (Kerberos)",
    )
    kafka_sasl_username: str = Field("", description="Kafka user for SASL")
    kafka_sasl_password: SecretStr = Field(NO_SECRET, description="Password of that user")
    kafka_sasl_password_file: str = file_of("KAFKA_SASL_PASSWORD")
    kafka_sasl_oauthbearer_token_endpoint_url: str = Field(
        "", description="http:// or https:// URL that OAuth tokens are requested from"
    )
    kafka_sasl_oauthbearer_client_id: str = Field("", description="OAuth client id")
    kafka_sasl_oauthbearer_client_secret: SecretStr = Field(
        NO_SECRET, description="OAuth client secret"
    )
    kafka_sasl_oauthbearer_client_secret_file: str = file_of("KAFKA_SASL_OAUTHBEARER_CLIENT_SECRET")
    kafka_sasl_oauthbearer_scope: str = Field(
        "", description="Scope of the OAuth token, if the token endpoint requires one"
    )
    kafka_sasl_oauthbearer_extensions: str = Field(
        "",
        description="SASL extensions to send with the token: name=value, separated by commas",
    )
    kafka_sasl_kerberos_service_name: str = Field(
        "kafka", min_length=1, description="Kerberos service that brokers run as"
    )
    kafka_sasl_kerberos_domain_name: str = Field(
        "", description="Host in the brokers' Kerberos principal; empty: each broker's own"
    )
    kafka_ssl_cafile: str = Field(
        "",
        description="PEM file of the CAs that sign the brokers' certificates; empty: the system's",
    )
    kafka_ssl_certfile: str = Field(
        "", description="PEM file of the client's certificate and chain, for mutual TLS"
    )
    kafka_ssl_keyfile: str = Field(
        "", description="PEM file of its private key, where that is not in the same file"
    )
    kafka_ssl_key_password: SecretStr = Field(NO_SECRET, description="Password of the key")
    kafka_ssl_key_password_file: str = file_of("KAFKA_SSL_KEY_PASSWORD")
    kafka_ssl_check_hostname: bool = Field(
        True, description="Whether a broker's certificate must name its host"
    )

    @field_validator("kafka_bootstrap_servers")
    @classmethod
    def _are_servers(cls, value: str) -> str:
        for server in map(str.strip, value.split(",")):
            host, colon, port = server.rpartition(":")
            no_port = not colon or port.endswith("]")  # [::1] is an address without a port
            if not server or not (no_port or (host and port.isdecimal() and 0 < int(port) < 65536)):
                raise ValueError("must be host:port, more of them with commas between")
        return value

    @field_validator(f"{_OAUTH}token_endpoint_url")
    @classmethod
    def _is_endpoint(cls, value: str) -> str:
        url = urlsplit(value)
        if value and (url.scheme not in ("http", "https") or not url.hostname):
            raise ValueError("must be a URL that starts with https:// or http://")
        return value

    @field_validator(f"{_OAUTH}extensions")
    @classmethod
    def _are_extensions(cls, value: str) -> str:
        for each in filter(None, value.split(",")):
            name, equals, text = each.partition("=")
            # RFC 7628: names are letters, and "auth" is the token's own.
            if not (name.strip().isalpha() and equals and text.strip()) or name.strip() == "auth":
                raise ValueError("must be name=value, more of them with commas between")
        return value

    @property
    def oauth_extensions(self) -> dict[str, str]:
        """The SASL extensions by name."""
        pairs = (each.partition("=") for each in self.kafka_sasl_oauthbearer_extensions.split(","))
        return {name.strip(): value.strip() for name, equals, value in pairs if equals}

    @model_validator(mode="after")
    def _kafka_is_consistent(self) -> Self:
        protocol, mechanism = self.kafka_security_protocol, self.kafka_sasl_mechanism
        is_sasl = protocol.startswith("SASL")
        sasl = ("kafka_sasl_mechanism", *_OF_MECHANISMS)
        self._need(sasl, is_sasl, "SASL_SSL or SASL_PLAINTEXT")
        if is_sasl:
            self._check_mechanism()
        if mechanism == "AWS_MSK_IAM":
            self._need(("kafka_sasl_mechanism",), protocol == "SASL_SSL", "SASL_SSL")
        names = ("kafka_ssl_cafile", "kafka_ssl_certfile", "kafka_ssl_keyfile")
        self._need((*names, "kafka_ssl_key_password"), protocol.endswith("SSL"), "SSL or SASL_SSL")
        self.check_tls("kafka_ssl_", self.kafka_ssl_key_password.get_secret_value())
        return self

    def _check_mechanism(self) -> None:
        """Check that the settings of the mechanism are there, and no others."""
        if self.kafka_sasl_mechanism is None:
            raise ValueError(
                f"{named('kafka_sasl_mechanism')} is missing: {named('kafka_security_protocol')} is"
                f" {self.kafka_security_protocol}"
            )
        mechanism = f"{named('kafka_sasl_mechanism')} is {self.kafka_sasl_mechanism}"
        needed = _NEEDED.get(self.kafka_sasl_mechanism, ())
        missing = [name for name in needed if not self.is_given(name)]
        if missing:
            raise ValueError(f"{named(missing[0])} is missing: {mechanism}")
        taken = (*needed, *_OPTIONAL.get(self.kafka_sasl_mechanism, ()))
        if useless := self.given(tuple(name for name in _OF_MECHANISMS if name not in taken)):
            raise ValueError(f"{named(useless[0])} is set, and {mechanism}: leave one out")

    def _need(self, names: tuple[str, ...], met: bool, protocols: str) -> None:
        if (useless := self.given(names)) and not met:
            raise ValueError(
                f"{named(useless[0])} is set, and {named('kafka_security_protocol')} is"
                f" {self.kafka_security_protocol}: set that to {protocols}"
            )
