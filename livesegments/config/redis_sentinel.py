"""Client of the master that Redis Sentinel names; each new connection asks the sentinels again."""

from collections.abc import Mapping, Sequence
from typing import Any

import redis
from redis.connection import parse_url
from redis.exceptions import AuthenticationError, NoPermissionError, RedisError
from redis.sentinel import MasterNotFoundError, Sentinel

from livesegments.config.redis_urls import RedisUrl

DEFAULT_PORT = 26_379
_SHARED = ("socket_", "ssl_", "protocol", "retry")


class SentinelRefusedError(AuthenticationError):
    """A sentinel rejects the credentials; the message names the sentinel."""


class Sentinels(Sentinel):
    """Sentinels of one master that report why they name none.

    ``credentials`` are for the case that they want some although ``options`` has none.
    """

    def __init__(
        self,
        addresses: Sequence[tuple[str, int]],
        options: Mapping[str, Any],
        credentials: Mapping[str, Any],
    ) -> None:
        super().__init__(addresses, sentinel_kwargs=dict(options))  # type: ignore[no-untyped-call]
        self._addresses, self._options, self._spare = addresses, options, credentials

    def discover_master(self, service_name: str) -> tuple[str, int]:
        """Return host and port of the master.

        If no sentinel names one, raises `RedisError`: the most telling of their answers.
        """
        try:
            found: tuple[str, int] = super().discover_master(service_name)  # type: ignore[no-untyped-call]
        except MasterNotFoundError:
            faults = [_fault(sentinel, service_name) for sentinel in self.sentinels]
        else:
            return found
        refused = [each for each in faults if isinstance(each, SentinelRefusedError)]
        if refused and self._spare:
            options, self._spare = {**self._options, **self._spare}, {}
            self.sentinels = [redis.Redis(*address, **options) for address in self._addresses]
            return self.discover_master(service_name)
        answers = [each for each in faults if isinstance(each, MasterNotFoundError)]
        raise (refused or answers or faults)[0]


def _fault(sentinel: "redis.Redis", service: str) -> RedisError:
    """Return why a sentinel did not name the master."""
    at = sentinel.connection_pool.connection_kwargs
    name = f"the sentinel at {at['host']}:{at['port']}"
    try:
        masters: Any = sentinel.sentinel_masters()
    except (AuthenticationError, NoPermissionError) as error:
        return SentinelRefusedError(f"{name} answers: {error}")
    except RedisError as error:
        return error
    if service in masters:
        return MasterNotFoundError(f"{name} knows no master {service!r} that is up")
    watched = ", ".join(map(repr, masters)) or "none"
    return MasterNotFoundError(f"{name} watches no master {service!r}, but {watched}")


def master_client(
    url: RedisUrl, options: Mapping[str, Any], credentials: Mapping[str, Any]
) -> "redis.Redis":
    """Return a client of the current master; it connects on first use.

    ``options`` are those of the connections to Redis. Without ``credentials``, the sentinels get
    none, or those of Redis if they want some.
    """
    parsed = [parse_url(server) for server in url.servers]  # type: ignore[no-untyped-call]
    addresses = [(at.get("host", "localhost"), at.get("port", DEFAULT_PORT)) for at in parsed]
    in_url = {k: v for k, v in parsed[0].items() if k not in ("host", "port", "connection_class")}
    full = {**options, **in_url}
    with_tls = url.scheme == "rediss"
    shared = {name: value for name, value in full.items() if name.startswith(_SHARED)}
    own = {name: full[name] for name in ("username", "password") if name in full}
    spare = {} if credentials else own
    sentinels = Sentinels(addresses, {**shared, "ssl": with_tls, **credentials}, spare)
    client: redis.Redis = sentinels.master_for(  # type: ignore[no-untyped-call]
        url.service, ssl=with_tls, **full
    )
    return client
