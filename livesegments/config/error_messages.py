"""One-line explanations of Kafka and Redis errors that name the setting to check."""

import ssl
from urllib.parse import SplitResult, urlsplit

import kafka.errors
import redis.exceptions
from redis.sentinel import MasterNotFoundError

from livesegments.config import tls
from livesegments.config.redis_sentinel import DEFAULT_PORT as SENTINEL_PORT
from livesegments.config.redis_sentinel import SentinelRefusedError
from livesegments.config.redis_urls import Form, parse
from livesegments.config.settings import PREFIX, Settings
from livesegments.consumers.retry import describe, refusal, without_data

_LISTS = "docs/security.md lists the rights needed"
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
        if settings.kafka_sasl_mechanism == "OAUTHBEARER":
            return f"Kafka refuses {_user(settings)}: {error}"
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
    if settings.kafka_sasl_oauthbearer_client_id:
        client = settings.kafka_sasl_oauthbearer_client_id
        return f"client {client!r} ({PREFIX}KAFKA_SASL_OAUTHBEARER_CLIENT_ID)"
    if settings.kafka_sasl_username:
        return f"user {settings.kafka_sasl_username!r} ({PREFIX}KAFKA_SASL_USERNAME)"
    if settings.kafka_ssl_certfile:
        return f"the user of {settings.kafka_ssl_certfile} ({PREFIX}KAFKA_SSL_CERTFILE)"
    return f"anonymous users ({PREFIX}KAFKA_SECURITY_PROTOCOL)"


def _redis(error: redis.exceptions.RedisError, settings: Settings) -> str:
    given = parse(settings.redis_url.get_secret_value())
    url = urlsplit(given.servers[0])
    if isinstance(error, redis.exceptions.AskError) and given.form is not Form.CLUSTER:
        return f"is a cluster there: write {url.scheme}+cluster:// ({PREFIX}REDIS_URL)"
    if "Cluster mode is not enabled" in str(error):
        return f"is a single server there: write {url.scheme}:// ({PREFIX}REDIS_URL)"
    if isinstance(error, SentinelRefusedError):
        return f"Sentinel refuses the password ({PREFIX}REDIS_SENTINEL_PASSWORD): {error}"
    if isinstance(error, MasterNotFoundError):
        return f"Sentinel names no master ({PREFIX}REDIS_URL): {error}"
    if refusal(error) is not None:
        return _redis_refusal(error, url, settings)
    fault = (
        error.__cause__ or error.__context__
    )  # for a cluster, set in livesegments/store/cluster_pipeline.py
    if isinstance(fault, ssl.SSLError):
        names, certfile = f"{PREFIX}REDIS_SSL_", settings.redis_ssl_certfile
        return tls.explain(fault, names, certfile, "may want a client certificate")
    if url.scheme == "rediss" and "handshake" in str(fault):
        return f"does not speak TLS there: write redis{given.form}:// ({PREFIX}REDIS_URL)"
    port = url.port or (SENTINEL_PORT if given.form is Form.SENTINEL else _REDIS_PORT)
    if url.scheme == "redis" and tls.speaks_tls(url.hostname or "localhost", port):
        return f"wants TLS there: write rediss{given.form}:// ({PREFIX}REDIS_URL)"
    return f"({PREFIX}REDIS_URL): {describe(error)}"


def _redis_refusal(error: redis.exceptions.RedisError, url: SplitResult, settings: Settings) -> str:
    user = settings.redis_username or url.username or "default"
    if isinstance(error, redis.exceptions.AuthenticationError):
        where = "REDIS_URL" if url.password else "REDIS_PASSWORD"
        return f"refuses user {user!r} ({PREFIX}{where}): {error}"
    where = "REDIS_USERNAME" if settings.redis_username else "REDIS_URL"
    return f"refuses user {user!r} ({PREFIX}{where}): {without_data(error)}; {_LISTS}"
