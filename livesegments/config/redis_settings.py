"""Settings of the connection to Redis: address, TLS and credentials."""

import re
from typing import Self
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, field_validator, model_validator
from redis.connection import ConnectionPool
from redis.exceptions import RedisError

from livesegments.config.redis_urls import SCHEMES, Form, parse
from livesegments.config.server_settings import NO_SECRET, ServerSettings, file_of, named

_PERCENT_CODES = "in a password write / ? # @ as %2F %3F %23 %40"


class RedisSettings(ServerSettings):
    """Address and credentials of Redis, and of the sentinels that watch it."""

    redis_url: SecretStr = Field(
        SecretStr("redis://localhost:6379/0"),
        description="Redis: redis://, rediss:// (TLS) or unix://; a Redis Cluster:"
        " redis+cluster:// or rediss+cluster:// with some of its servers, separated by commas;"
        " Redis Sentinel: redis+sentinel://host:26379,host:26379/mymaster/0 or"
        " rediss+sentinel://; valkey may be written for redis",
    )
    redis_url_file: str = file_of("REDIS_URL")
    redis_username: str = Field("", description="Redis user, where the URL has none")
    redis_password: SecretStr = Field(
        NO_SECRET, description="Redis password, where the URL has none"
    )
    redis_password_file: str = file_of("REDIS_PASSWORD")
    redis_sentinel_username: str = Field(
        "", description="User of the sentinels, where they have users"
    )
    redis_sentinel_password: SecretStr = Field(
        NO_SECRET,
        description="Password of the sentinels (unset: none, or that of Redis if they require one)",
    )
    redis_sentinel_password_file: str = file_of("REDIS_SENTINEL_PASSWORD")
    redis_ssl_cafile: str = Field(
        "", description="PEM file of the CAs that sign Redis's certificate; empty: the system's"
    )
    redis_ssl_certfile: str = Field(
        "", description="PEM file of the client's certificate for Redis, for mutual TLS"
    )
    redis_ssl_keyfile: str = Field(
        "", description="PEM file of its private key, where that is not in the same file"
    )
    redis_ssl_check_hostname: bool = Field(
        True, description="Whether a Redis server's certificate must name its host"
    )

    @field_validator("redis_url")
    @classmethod
    def _is_redis(cls, value: SecretStr) -> SecretStr:
        given = value.get_secret_value()
        if not given.startswith(SCHEMES):
            raise ValueError(
                "must start with redis://, rediss:// or unix://; with redis+cluster:// or"
                " rediss+cluster:// for a cluster, redis+sentinel:// or rediss+sentinel:// for"
                " sentinels (valkey may be written for redis)"
            )
        url = parse(given)
        if url.form is Form.SENTINEL and not re.fullmatch(r"[A-Za-z0-9._-]+", url.service):
            raise ValueError(
                "must name the master that the sentinels watch, as in"
                f" redis+sentinel://host:26379/mymaster/0; {_PERCENT_CODES}"
            )
        for each in url.servers:
            _check_server(each)
        if url.form is Form.CLUSTER and urlsplit(url.servers[0]).path not in ("", "/", "/0"):
            raise ValueError("a Redis Cluster has no database but 0")
        return value

    @model_validator(mode="after")
    def _redis_is_consistent(self) -> Self:
        parsed = parse(self.redis_url.get_secret_value())
        url = urlsplit(parsed.servers[0])
        in_url = {"redis_username": url.username, "redis_password": url.password}
        for name, twice in in_url.items():
            if twice and self.is_given(name):
                raise ValueError(f"{named(name)} is set, and {named('redis_url')} has one too")
        files = ("redis_ssl_cafile", "redis_ssl_certfile", "redis_ssl_keyfile")
        useless = self.given((*files, "redis_ssl_check_hostname"))
        if parsed.scheme != "rediss" and useless:
            raise ValueError(
                f"{named(useless[0])} is for TLS: write {named('redis_url')} with"
                f" rediss{parsed.form}://"
            )
        of_sentinels = self.given(("redis_sentinel_username", "redis_sentinel_password"))
        if parsed.form is not Form.SENTINEL and of_sentinels:
            raise ValueError(
                f"{named(of_sentinels[0])} is for sentinels: write {named('redis_url')} as"
                " redis+sentinel://host:26379/mymaster/0"
            )
        for kind, has_password in (("redis", url.password), ("redis_sentinel", None)):
            user, password = f"{kind}_username", f"{kind}_password"
            if self.is_given(user) and not (has_password or self.is_given(password)):
                raise ValueError(f"{named(user)} needs {named(password)}")
        self.check_tls("redis_ssl_", "")
        return self


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
