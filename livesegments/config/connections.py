"""Connection settings for Kafka and Redis: addresses, security and credentials."""

import re
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, field_validator, model_validator
from pydantic_settings import BaseSettings
from redis.connection import ConnectionPool
from redis.exceptions import RedisError

from livesegments.config import tls
from livesegments.config.environment import PREFIX, with_secrets
from livesegments.config.redis_urls import SCHEMES, is_cluster, server_urls

SECRETS = ("kafka_sasl_password", "kafka_ssl_key_password", "redis_url", "redis_password")
"""Settings that can be read from a file instead, named by an extra ``<setting>_file``."""

_PERCENT_CODES = "in a password write / ? # @ as %2F %3F %23 %40"
_NONE = SecretStr("")


def _file_of(secret: str) -> Any:
    return Field(description=f"File that holds {PREFIX}{secret}, set instead of it")


class Connections(BaseSettings):
    """Addresses and credentials of the servers; passwords may be read from files."""

    kafka_bootstrap_servers: Annotated[
        str, Field(min_length=1, description="Kafka brokers, host:port with commas between")
    ] = "localhost:9092"
    kafka_security_protocol: Annotated[
        Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"],
        Field(description="How brokers are spoken to: SSL is TLS, SASL a user and password"),
    ] = "PLAINTEXT"
    kafka_sasl_mechanism: Annotated[
        Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] | None,
        Field(description="How the password is proved: PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512"),
    ] = None
    kafka_sasl_username: Annotated[str, Field(description="Kafka user, of SASL")] = ""
    kafka_sasl_password: Annotated[SecretStr, Field(description="Password of that user")] = _NONE
    kafka_sasl_password_file: Annotated[str, _file_of("KAFKA_SASL_PASSWORD")] = ""
    kafka_ssl_cafile: Annotated[
        str,
        Field(description="PEM file of the CAs that brokers are trusted by; empty: the system's"),
    ] = ""
    kafka_ssl_certfile: Annotated[
        str, Field(description="PEM file of the client's certificate and chain, for mutual TLS")
    ] = ""
    kafka_ssl_keyfile: Annotated[
        str, Field(description="PEM file of its private key, where that is not in the same file")
    ] = ""
    kafka_ssl_key_password: Annotated[SecretStr, Field(description="Password of the key")] = _NONE
    kafka_ssl_key_password_file: Annotated[str, _file_of("KAFKA_SSL_KEY_PASSWORD")] = ""
    kafka_ssl_check_hostname: Annotated[
        bool, Field(description="Whether a broker's certificate must be of its host name")
    ] = True

    redis_url: Annotated[
        SecretStr,
        Field(
            description="Redis: redis://, rediss:// (TLS) or unix://; a Redis Cluster:"
            " redis+cluster:// or rediss+cluster:// with some of its servers, commas between"
        ),
    ] = SecretStr("redis://localhost:6379/0")
    redis_url_file: Annotated[str, _file_of("REDIS_URL")] = ""
    redis_username: Annotated[str, Field(description="Redis user, where the URL has none")] = ""
    redis_password: Annotated[
        SecretStr, Field(description="Redis password, where the URL has none")
    ] = _NONE
    redis_password_file: Annotated[str, _file_of("REDIS_PASSWORD")] = ""
    redis_ssl_cafile: Annotated[
        str, Field(description="PEM file of the CAs that Redis is trusted by; empty: the system's")
    ] = ""
    redis_ssl_certfile: Annotated[
        str, Field(description="PEM file of the client's certificate for Redis, for mutual TLS")
    ] = ""
    redis_ssl_keyfile: Annotated[
        str, Field(description="PEM file of its private key, where that is not in the same file")
    ] = ""

    @model_validator(mode="before")
    @classmethod
    def _read_secrets(cls, given: Any) -> Any:
        return with_secrets(given, SECRETS) if isinstance(given, dict) else given

    @field_validator("redis_url")
    @classmethod
    def _is_redis(cls, value: SecretStr) -> SecretStr:
        url = value.get_secret_value()
        if not url.startswith(SCHEMES):
            raise ValueError(f"must start with {', '.join(SCHEMES[:-1])} or {SCHEMES[-1]}")
        servers = server_urls(url)
        for each in servers:
            _check_server(each)
        if is_cluster(url) and urlsplit(servers[0]).path not in ("", "/", "/0"):
            raise ValueError("a Redis Cluster has no database but 0")
        return value

    @field_validator("kafka_bootstrap_servers")
    @classmethod
    def _are_servers(cls, value: str) -> str:
        for server in map(str.strip, value.split(",")):
            host, colon, port = server.rpartition(":")
            no_port = not colon or port.endswith("]")  # [::1] is an address without a port
            if not server or not (no_port or (host and port.isdecimal() and 0 < int(port) < 65536)):
                raise ValueError("must be host:port, more of them with commas between")
        return value

    @model_validator(mode="after")
    def _kafka_is_consistent(self) -> Self:
        protocol = self.kafka_security_protocol
        sasl = ("kafka_sasl_mechanism", "kafka_sasl_username", "kafka_sasl_password")
        self._need(sasl, protocol.startswith("SASL"), "SASL_SSL or SASL_PLAINTEXT")
        if protocol.startswith("SASL"):
            for name in sasl:
                if not self._given(name):
                    raise ValueError(
                        f"{_named(name)} is missing: {_named('kafka_security_protocol')} is"
                        f" {protocol}"
                    )
        names = ("kafka_ssl_cafile", "kafka_ssl_certfile", "kafka_ssl_keyfile")
        self._need((*names, "kafka_ssl_key_password"), protocol.endswith("SSL"), "SSL or SASL_SSL")
        self._check_tls("kafka_ssl_", self.kafka_ssl_key_password.get_secret_value())
        return self

    @model_validator(mode="after")
    def _redis_is_consistent(self) -> Self:
        url = urlsplit(server_urls(self.redis_url.get_secret_value())[0])
        in_url = {"redis_username": url.username, "redis_password": url.password}
        for name, twice in in_url.items():
            if twice and self._given(name):
                raise ValueError(f"{_named(name)} is set, and {_named('redis_url')} has one too")
        names = ("redis_ssl_cafile", "redis_ssl_certfile", "redis_ssl_keyfile")
        if url.scheme != "rediss" and (useless := [name for name in names if self._given(name)]):
            raise ValueError(
                f"{_named(useless[0])} is for TLS: write {_named('redis_url')} with rediss://"
                " or rediss+cluster://"
            )
        if self.redis_username and not (url.password or self._given("redis_password")):
            raise ValueError(f"{_named('redis_username')} needs {_named('redis_password')}")
        self._check_tls("redis_ssl_", "")
        return self

    def _need(self, names: tuple[str, ...], met: bool, protocols: str) -> None:
        useless = [name for name in names if self._given(name)]
        if useless and not met:
            raise ValueError(
                f"{_named(useless[0])} is set, and {_named('kafka_security_protocol')} is"
                f" {self.kafka_security_protocol}: set that to {protocols}"
            )

    def _given(self, name: str) -> bool:
        value = getattr(self, name)
        return bool(value.get_secret_value() if isinstance(value, SecretStr) else value)

    def _check_tls(self, prefix: str, password: str) -> None:
        cafile, certfile, keyfile = (
            getattr(self, f"{prefix}{name}") for name in ("cafile", "certfile", "keyfile")
        )
        if keyfile and not certfile:
            raise ValueError(f"{_named(f'{prefix}keyfile')} needs {_named(f'{prefix}certfile')}")
        if password and not certfile:
            raise ValueError(
                f"{_named(f'{prefix}key_password')} needs {_named(f'{prefix}certfile')}"
            )
        tls.check_files(_named(prefix), cafile, certfile, keyfile, password)


def _check_server(url: str) -> None:
    """Reject a server URL that the client would reject or misinterpret."""
    try:
        # With an unescaped / in a password, its start is parsed as the port and shown in the error.
        parts = urlsplit(url)
        parts.port  # noqa: B018 - parsed and checked on access
    except ValueError:
        raise ValueError(f"host or port cannot be read; {_PERCENT_CODES}") from None
    if parts.fragment:  # the client ignores it
        raise ValueError(f"must have no #; {_PERCENT_CODES}")
    # The client treats any other path as database 0.
    if parts.scheme != "unix" and re.fullmatch(r"(/[0-9]*)?", parts.path) is None:
        raise ValueError(f"database must be a number, as in /0; {_PERCENT_CODES}")
    try:
        ConnectionPool.from_url(url).make_connection()  # connects only when used
    except (TypeError, ValueError, RedisError):
        raise ValueError(f"has an option that Redis does not take; {_PERCENT_CODES}") from None


def _named(setting: str) -> str:
    return f"{PREFIX}{setting.upper()}"
