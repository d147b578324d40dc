"""Base of the settings of a server: secrets from files and TLS files."""

from typing import Any

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings

from livesegments.config import tls
from livesegments.config.environment import PREFIX

NO_SECRET = SecretStr("")


def file_of(secret: str) -> Any:
    """Return the field of the file that may be given instead of a secret."""
    return Field(description=f"File that holds {PREFIX}{secret}, set instead of it")


def named(setting: str) -> str:
    """Return a setting's name in the environment."""
    return f"{PREFIX}{setting.upper()}"


class ServerSettings(BaseSettings):
    """Checks that the settings of Kafka and Redis have in common."""

    def is_given(self, name: str) -> bool:
        """Return whether a setting has another value than its default."""
        return bool(getattr(self, name) != type(self).model_fields[name].default)

    def given(self, names: tuple[str, ...]) -> list[str]:
        """Return the names of the settings that have another value than their default."""
        return [name for name in names if self.is_given(name)]

    def check_tls(self, prefix: str, password: str) -> None:
        """Check the certificate files of the settings whose names begin with a prefix."""
        cafile, certfile, keyfile = (
            getattr(self, f"{prefix}{name}") for name in ("cafile", "certfile", "keyfile")
        )
        if keyfile and not certfile:
            raise ValueError(f"{named(f'{prefix}keyfile')} needs {named(f'{prefix}certfile')}")
        if password and not certfile:
            raise ValueError(f"{named(f'{prefix}key_password')} needs {named(f'{prefix}certfile')}")
        tls.check_files(named(prefix), cafile, certfile, keyfile, password)
