"""URLs of Redis: of one server, as redis-py takes them, or of a Redis Cluster.

``redis://user:password@host:6379/0`` is one server, with ``rediss://`` over TLS; a cluster is
``redis+cluster://user:password@host:7000,host:7001``, some of its servers, which name the others.
"""

import re

SCHEMES = ("redis://", "rediss://", "unix://", "redis+cluster://", "rediss+cluster://")
_CLUSTER = "+cluster"


def is_cluster(url: str) -> bool:
    """Return whether a URL is that of a cluster."""
    return url.partition("://")[0].endswith(_CLUSTER)


def server_urls(url: str) -> list[str]:
    """Return the URL of each server that a URL names, as redis-py takes it.

    Examples
    --------
    >>> server_urls("rediss+cluster://me:secret@a:7000,b:7001/0")
    ['rediss://me:secret@a:7000/0', 'rediss://me:secret@b:7001/0']
    >>> server_urls("redis+cluster://[::1]:7000,b:7001")
    ['redis://[::1]:7000', 'redis://b:7001']
    >>> server_urls("redis://localhost:6379/0")
    ['redis://localhost:6379/0']
    """
    if not is_cluster(url):
        return [url]
    # Not by urlsplit: many versions of Python refuse a list that holds an IPv6 address.
    scheme, _, rest = url.partition("://")
    servers = re.split("[/?#]", rest, maxsplit=1)[0]
    after = rest.removeprefix(servers)
    user, at, hosts = servers.rpartition("@")
    return [
        f"{scheme.removesuffix(_CLUSTER)}://{user}{at}{host.strip()}{after}"
        for host in hosts.split(",")
    ]
