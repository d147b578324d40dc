"""Redis URLs: a single server, a Redis Cluster, or a master that Redis Sentinel watches.

``redis://user:password@host:6379/0`` is a single server, ``rediss://`` with TLS. A cluster is
``redis+cluster://user:password@host:7000,host:7001``: a subset of its servers, used for discovery.
``redis+sentinel://user:password@host:26379,host:26379/mymaster/0`` names the sentinels and the
master that they watch; user and password are those of Redis. ``valkey`` may be written for
``redis``.
"""

import re
from dataclasses import dataclass
from enum import StrEnum

_BASES = {"redis": "redis", "rediss": "rediss", "valkey": "redis", "valkeys": "rediss"}


class Form(StrEnum):
    """Kind of deployment behind a URL; the value is the suffix of its scheme."""

    SERVER = ""
    CLUSTER = "+cluster"
    SENTINEL = "+sentinel"


SCHEMES = (*(f"{base}{form}://" for form in Form for base in _BASES), "unix://")


@dataclass(frozen=True, slots=True)
class RedisUrl:
    """A parsed URL.

    ``scheme`` and ``servers``, each with the database, are as redis-py takes them; ``service`` is
    the master that sentinels watch.
    """

    form: Form
    scheme: str
    servers: tuple[str, ...]
    service: str = ""


def parse(url: str) -> RedisUrl:
    """Parse a URL that starts with one of `SCHEMES`.

    Examples
    --------
    >>> parse("rediss+cluster://me:secret@a:7000,b:7001/0").servers
    ('rediss://me:secret@a:7000/0', 'rediss://me:secret@b:7001/0')
    >>> parse("redis+cluster://[::1]:7000,b:7001").servers
    ('redis://[::1]:7000', 'redis://b:7001')
    >>> parse("valkeys://localhost:6379/0").servers
    ('rediss://localhost:6379/0',)
    >>> found = parse("redis+sentinel://:secret@a:26379,b:26379/mymaster/2")
    >>> found.service, found.servers
    ('mymaster', ('redis://:secret@a:26379/2', 'redis://:secret@b:26379/2'))
    """
    given, _, rest = url.partition("://")
    base, plus, form = given.partition("+")
    kind, scheme = Form(plus + form), _BASES.get(base, base)
    if kind is Form.SERVER:
        return RedisUrl(kind, scheme, (f"{scheme}://{rest}",))
    # Not urlsplit: many Python versions reject a list that contains an IPv6 address.
    servers = re.split("[/?#]", rest, maxsplit=1)[0]
    after, service = rest.removeprefix(servers), ""
    if kind is Form.SENTINEL and after.startswith("/"):
        service = re.split("[/?#]", after[1:], maxsplit=1)[0]
        after = after[1:].removeprefix(service)
    user, at, hosts = servers.rpartition("@")
    urls = tuple(f"{scheme}://{user}{at}{host.strip()}{after}" for host in hosts.split(","))
    return RedisUrl(kind, scheme, urls, service)
