"""One-line explanations of Kafka and Redis errors that name the setting to check."""

import ssl
from urllib.parse import urlsplit

import kafka.errors
import redis.exceptions

from livesegments.config.redis_urls import is_cluster, server_urls
from livesegments.config.settings import PREFIX, Settings
from livesegments.config.tls import speaks_tls
from livesegments.consumers.retry import describe, refusal, without_data

_LISTS = "docs/security.md lists what is needed"
_REDIS_PORT = 6379


def explain(error: Exception, settings: Settings) -> str:
    """Return a readable one-line message for an error, without secrets."""
    if isinstance(error, kafka.errors.KafkaError):
        return _kafka(error, settings)
    if isinstance(error, redis.exceptions.RedisError):
        return f"Redis {_redis(error, settings)}"
    return str(error) or type(error).__name__


def _kafka(error: kafka.errors.KafkaError, settings: Settings) -> str:
    if isinstance(error, kafka.errors.AuthorizationError):
        return (
            f"Kafka does not allow {_user(settings)} {_resource(error, settings)}: an ACL is"
            f" missing; {_LISTS}"
        )
    if isinstance(error, kafka.errors.SaslAuthenticationFailedError):
        return (
            f"Kafka refuses {_user(settings)}: wrong user or password ({PREFIX}KAFKA_SASL_PASSWORD)"
        )
    where = f"Kafka at {settings.kafka_bootstrap_servers} ({PREFIX}KAFKA_BOOTSTRAP_SERVERS)"
    return f"{where}: {error}"


def _resource(error: kafka.errors.AuthorizationError, settings: Settings) -> str:
    if isinstance(error, kafka.errors.GroupAuthorizationFailedError):
        return f"group {settings.group_id} ({PREFIX}GROUP_ID)"
    if isinstance(error, kafka.errors.TransactionalIdAuthorizationFailedError):
        return f"transactional ids that begin with {settings.group_id}- ({PREFIX}GROUP_ID)"
    if isinstance(error, kafka.errors.TopicAuthorizationFailedError) and error.args:
        [topics] = error.args
        return f"topic {topics if isinstance(topics, str) else ', '.join(sorted(topics))}"
    return type(error).__name__.removesuffix("AuthorizationFailedError").lower()


def _user(settings: Settings) -> str:
    if settings.kafka_sasl_username:
        return f"user {settings.kafka_sasl_username!r} ({PREFIX}KAFKA_SASL_USERNAME)"
    if settings.kafka_ssl_certfile:
        return f"the user of {settings.kafka_ssl_certfile} ({PREFIX}KAFKA_SSL_CERTFILE)"
    return f"anonymous users ({PREFIX}KAFKA_SECURITY_PROTOCOL)"


def _redis(error: redis.exceptions.RedisError, settings: Settings) -> str:
    given_url = settings.redis_url.get_secret_value()
    url, cluster = urlsplit(server_urls(given_url)[0]), "+cluster" * is_cluster(given_url)
    if isinstance(error, redis.exceptions.AskError) and not cluster:
        return f"is a cluster there: write {url.scheme}+cluster:// ({PREFIX}REDIS_URL)"
    if "Cluster mode is not enabled" in str(error):
        return f"is a single server there: write {url.scheme}:// ({PREFIX}REDIS_URL)"
    user = settings.redis_username or url.username or "default"
    if isinstance(error, redis.exceptions.AuthenticationError):
        where = "REDIS_URL" if url.password else "REDIS_PASSWORD"
        return f"refuses user {user!r} ({PREFIX}{where}): {error}"
    if refusal(error) is not None:
        where = "REDIS_USERNAME" if settings.redis_username else "REDIS_URL"
        return f"refuses user {user!r} ({PREFIX}{where}): {without_data(error)}; {_LISTS}"
    fault = (
        error.__cause__ or error.__context__
    )  # for a cluster, set in livesegments/store/cluster_pipeline.py
    if isinstance(fault, ssl.SSLCertVerificationError):
        return (
            f"has a certificate that is not trusted: {fault.verify_message.rstrip('.')}"
            f" ({PREFIX}REDIS_SSL_CAFILE)"
        )
    if isinstance(fault, ssl.SSLError):
        given = settings.redis_ssl_certfile
        what = f"refuses the certificate {given}" if given else "may want a client certificate"
        return f"{what} ({PREFIX}REDIS_SSL_CERTFILE): {fault.reason or fault.strerror}"
    if url.scheme == "rediss" and "handshake" in str(fault):
        return f"does not speak TLS there: write redis{cluster}:// ({PREFIX}REDIS_URL)"
    if url.scheme == "redis" and speaks_tls(url.hostname or "localhost", url.port or _REDIS_PORT):
        return f"wants TLS there: write rediss{cluster}:// ({PREFIX}REDIS_URL)"
    return f"({PREFIX}REDIS_URL): {describe(error)}"
