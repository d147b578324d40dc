"""Redis URLs: of a single server, as redis-py accepts them, or of a Redis Cluster.

``redis://user:password@host:6379/0`` is a single server, ``rediss://`` with TLS. A cluster is
``redis+cluster://user:password@host:7000,host:7001``: a subset of its servers, used for discovery.
"""

import re

SCHEMES = ("redis://", "rediss://", "unix://", "redis+cluster://", "rediss+cluster://")
_CLUSTER = "+cluster"


def is_cluster(url: str) -> bool:
    """Return whether a URL refers to a cluster."""
    return url.partition("://")[0].endswith(_CLUSTER)


def server_urls(url: str) -> list[str]:
    """Return the URL of each server in a URL, in the form that redis-py accepts.

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
    # Not urlsplit: many Python versions reject a list that contains an IPv6 address.
    scheme, _, rest = url.partition("://")
    servers = re.split("[/?#]", rest, maxsplit=1)[0]
    after = rest.removeprefix(servers)
    user, at, hosts = servers.rpartition("@")
    return [
        f"{scheme.removesuffix(_CLUSTER)}://{user}{at}{host.strip()}{after}"
        for host in hosts.split(",")
    ]
