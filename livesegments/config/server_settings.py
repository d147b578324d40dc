"""Base of the settings of a server: their names, secrets from files, and TLS files."""

from collections.abc import Iterable
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from pydantic import Field, SecretStr, model_validator
from pydantic_settings import BaseSettings

from livesegments.config import PREFIX, tls

NO_SECRET = SecretStr("")


def file_of(secret: str) -> Any:
    """Return the field of the file that may be given instead of a secret; empty without one."""
    return Field("", description=f"File that holds {PREFIX}{secret}, set instead of it")


def named(setting: str) -> str:
    """Return a setting's name in the environment."""
    return f"{PREFIX}{setting.upper()}"


def unknown_names(names: Iterable[str], known: Iterable[str]) -> list[str]:
    """Return a message for each unknown name with the prefix, suggesting a known one."""
    known = [name.upper() for name in known]
    said = []
    for name in sorted({name.upper() for name in names}):
        own = name.removeprefix(PREFIX)
        if name.startswith(PREFIX) and own not in known:
            if own.endswith("_TOPIC"):
                said.append(
                    f"{name} is no setting: topics have the names of `livesegments topics create"
                    f" --print`, with {PREFIX}TOPIC_PREFIX in front"
                )
                continue
            near = get_close_matches(own, known, n=1, cutoff=0.7)
            meant = (
                f"; is {PREFIX}{near[0]} meant?" if near else ": `livesegments settings` has all"
            )
            said.append(f"{name} is no setting{meant}")
    return said


class ServerSettings(BaseSettings):
    """Checks that the settings of all servers have in common.

    Each secret, a field of the type `SecretStr`, may be in a file instead, which the field
    ``<secret>_file`` names.
    """

    @classmethod
    def secrets(cls) -> list[str]:
        """Return the names of the secrets."""
        return [name for name, field in cls.model_fields.items() if field.annotation is SecretStr]

    @model_validator(mode="before")
    @classmethod
    def _read_secrets(cls, given: Any) -> Any:
        """Take each secret from its file, without the final newline."""
        for secret in cls.secrets():
            file = given.get(f"{secret}_file")
            if not file:
                continue
            name = named(secret)
            if given.get(secret):
                raise ValueError(f"{name} and {name}_FILE are both set: leave one out")
            try:
                content = Path(str(file)).read_text().removesuffix("\n").removesuffix("\r")
            except (OSError, UnicodeDecodeError) as error:
                why = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
                raise ValueError(f"{name}_FILE: {file}: {why}") from None
            if not content:
                raise ValueError(f"{name}_FILE: {file} is empty")
            given = {**given, secret: content}
        return given

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
