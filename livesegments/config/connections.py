"""Connection settings: addresses, security and credentials of servers, our own among them."""

from typing import Any

from pydantic import model_validator

from livesegments.config.environment import with_secrets
from livesegments.config.kafka_settings import KafkaSettings
from livesegments.config.redis_settings import RedisSettings
from livesegments.config.serve_settings import ServeSettings

SECRETS = (
    "kafka_sasl_password",
    "kafka_sasl_oauthbearer_client_secret",
    "kafka_ssl_key_password",
    "redis_url",
    "redis_password",
    "redis_sentinel_password",
    "serve_token",
)
"""Settings that can be read from a file instead, named by an extra ``<setting>_file``."""


class Connections(ServeSettings, RedisSettings, KafkaSettings):
    """Addresses and credentials of the servers; secrets may be read from files."""

    @model_validator(mode="before")
    @classmethod
    def _read_secrets(cls, given: Any) -> Any:
        return with_secrets(given, SECRETS) if isinstance(given, dict) else given
