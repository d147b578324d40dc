"""URLs of Redis: of one server, as redis-py takes them, or of a Redis Cluster.

``redis://user:password@host:6379/0`` is one server, with ``rediss://`` over TLS; a cluster is
``redis+cluster://user:password@host:7000,host:7001``, by some of its servers, who tell of the rest.
"""

from urllib.parse import urlsplit

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
    >>> server_urls("redis://localhost:6379/0")
    ['redis://localhost:6379/0']
    """
    if not is_cluster(url):
        return [url]
    parts = urlsplit(url)
    user, at, hosts = parts.netloc.rpartition("@")
    scheme = parts.scheme.removesuffix(_CLUSTER)
    return [
        parts._replace(scheme=scheme, netloc=f"{user}{at}{host.strip()}").geturl()
        for host in hosts.split(",")
    ]
