"""All settings: environment variables ``LIVESEGMENTS_*``, or a file of them."""

import os
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self

from pydantic import Field, ValidationError, field_validator, model_validator
from pydantic_settings import DotEnvSettingsSource, SettingsConfigDict

from livesegments.config import PREFIX
from livesegments.config.kafka_settings import KafkaSettings
from livesegments.config.redis_settings import RedisSettings
from livesegments.config.serve_settings import ServeSettings
from livesegments.config.server_settings import named, unknown_names
from livesegments.contracts.topics import RETENTION_DAYS

if TYPE_CHECKING:
    from livesegments.features.segmentation import Segmentation

__all__ = ["PREFIX", "Settings", "SettingsError", "describe", "load", "unread"]

WALL_CHANGES_PER_SECOND = 1_000


class SettingsError(ValueError):
    """A setting is invalid; the message names it and states the reason."""


class Settings(ServeSettings, RedisSettings, KafkaSettings):
    """Settings of a deployment. All workers of a group must use the same values."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, extra="ignore", frozen=True, env_ignore_empty=True
    )

    group_id: str = Field(
        "livesegments",
        pattern=r"^[A-Za-z0-9._-]{1,100}$",
        description="Consumer group, and the first part of every Redis key",
    )
    topic_prefix: str = Field(
        "",
        pattern=r"^[A-Za-z0-9._-]{0,100}$",
        description="Prefix of every topic's name, such as acme.crm. for acme.crm.purchases.v1",
    )
    instance_id: str = Field(
        "",
        pattern=r"^[A-Za-z0-9._-]{0,100}$",
        description="Name of this worker, stable over restarts (such as a pod's), so that a"
        " restart ends at once the transaction that a crash left open; empty: a random one",
    )

    clock: Literal["wall", "event"] = Field(
        "wall",
        description="Clock that windows end at: the wall clock, or for replays the latest event",
    )
    window_days: int = Field(90, ge=1, le=3660, description="Days in the window")
    tiles: int = Field(30, ge=2, le=366, description="Number of tiles in the window")
    currency: str = Field("USD", pattern=r"^[A-Z]{3}$", description="Currency of all purchases")

    consent: Literal["optional", "required"] = Field(
        "optional",
        description="Whether a profile may leave out a consent, which is then unknown (optional),"
        " or is rejected without both (required)",
    )
    partitioner: Literal["murmur2", "crc32"] = Field(
        "murmur2",
        description="Hash by which producers choose a customer's partition: murmur2 (Java,"
        " kafka-python, KafkaJS, franz-go) or crc32 (librdkafka's default)",
    )

    retention_days: int | None = Field(
        None,
        ge=1,
        le=1_000_000_000,
        description="Days after the last purchase until a customer's data is deleted, except a"
        " profile; at least the window (unset: 400, or a longer window)",
    )

    dedup_events: int = Field(
        1_000_000,
        ge=0,
        le=67_108_864,  # 512 MB, the maximum string length in Redis
        description="Purchases of a partition whose event_id is remembered, so that a repeat"
        " is skipped (8 bytes each in Redis, 512 MB at most; 0: repeats count)",
    )

    warmup_customers: int = Field(
        500, ge=5, description="Customers with a purchase before the first fit"
    )
    refit: Literal["auto", "propose", "off"] = Field(
        "auto",
        description="Fit again once a tile, and adopt a better fit (auto) or only report it, for"
        " `livesegments refit` (propose)",
    )
    refit_gain: float = Field(
        0.0125, gt=0, lt=1, description="Share by which a better fit must reduce the inertia"
    )
    switch_margin: float = Field(
        0.15,
        ge=0,
        lt=1,
        description="Share by which another centroid must be nearer for a customer to switch",
    )
    min_dwell: timedelta = Field(
        timedelta(0),
        description="Minimum time in a segment: seconds, or ISO 8601 such as P3D or PT12H",
    )

    segmentation: str = Field(
        "personas",
        description="Features and segments: personas, rfm, or a TOML file of your own"
        " (livesegments segmentation --template)",
    )

    http_port: int = Field(
        9108, ge=0, le=65535, description="Port of /metrics, /livez, /readyz (0: any free)"
    )
    http_host: str = Field("0.0.0.0", description="Address that port is bound to")
    log_format: Literal["auto", "console", "json"] = Field(
        "auto", description="Log format; auto: console on a terminal, else JSON"
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="Minimum log level"
    )

    max_poll_records: int = Field(
        20_000,
        ge=1,
        le=100_000,
        description="Maximum number of records in a micro-batch",
    )
    session_timeout_seconds: float = Field(
        10.0,
        ge=1,
        le=1800,
        description="Time without a heartbeat until a worker's partitions go to others",
    )
    max_poll_interval_seconds: float = Field(
        120.0, ge=20, le=86_400, description="Maximum time between two polls of a worker"
    )
    definitions_seconds: float = Field(
        10.0, gt=0, le=3600, description="Time between two publications of the segment definitions"
    )
    sweep_customers: int = Field(
        500,
        ge=1,
        le=100_000,
        description="Customers of a partition that a sweep scores in a micro-batch",
    )
    max_changes_per_second: int | None = Field(
        None,
        ge=0,
        le=1_000_000,
        description="Maximum changes a second that a worker makes without an event: by time, a"
        " new model or a recovery; 0: no limit (unset: 1000 with the wall clock, 0 with the event"
        " clock, where a replay sets the pace)",
    )

    @field_validator("min_dwell", mode="before")
    @classmethod
    def _seconds(cls, value: Any) -> Any:
        try:
            return float(value) if isinstance(value, str) else value
        except ValueError:
            return value

    @field_validator("min_dwell")
    @classmethod
    def _not_negative(cls, value: timedelta) -> timedelta:
        if value < timedelta(0):
            raise ValueError("must not be negative")
        return value

    @field_validator("segmentation")
    @classmethod
    def _is_a_segmentation(cls, value: str) -> str:
        if value not in ("personas", "rfm"):
            _read_segmentation(value)
        return value

    def read_segmentation(self) -> "Segmentation":
        """Return the segmentation: a built-in one, or that of the file."""
        return _read_segmentation(self.segmentation)

    @model_validator(mode="after")
    def _tiles_divide(self) -> Self:
        if self.window_days * 86_400 % self.tiles:
            raise ValueError(
                f"{PREFIX}TILES: {self.tiles} tiles do not divide a window of {self.window_days}"
                f" days ({PREFIX}WINDOW_DAYS) into whole seconds"
            )
        if self.retention_days is not None and self.retention_days < self.window_days:
            raise ValueError(
                f"{PREFIX}RETENTION_DAYS: {self.retention_days} is less than the window of"
                f" {self.window_days} days ({PREFIX}WINDOW_DAYS)"
            )
        if self.session_timeout_seconds >= self.max_poll_interval_seconds:
            raise ValueError(
                f"{PREFIX}SESSION_TIMEOUT_SECONDS must be below {PREFIX}MAX_POLL_INTERVAL_SECONDS"
            )
        return self

    @property
    def days_kept(self) -> int:
        """`retention_days`, or its default, in days."""
        if self.retention_days is not None:
            return self.retention_days
        return max(RETENTION_DAYS, self.window_days)

    @property
    def change_rate(self) -> int:
        """`max_changes_per_second`, or its default."""
        if self.max_changes_per_second is not None:
            return self.max_changes_per_second
        return WALL_CHANGES_PER_SECOND if self.clock == "wall" else 0


def _read_segmentation(name_or_path: str) -> "Segmentation":
    # Imported here because it loads River, which most uses of the settings do not need.
    from livesegments.config import segmentation

    return segmentation.load(name_or_path)


def load(env_file: Path | None = None, **overrides: Any) -> Settings:
    """Load the settings.

    The environment takes precedence over the lines ``LIVESEGMENTS_NAME=value`` of ``env_file``, and
    ``overrides``, by lower-case name, over both.

    Raises `SettingsError` if a setting is invalid, or the file is unreadable or contains an unknown
    name.
    """
    if env_file is not None and not env_file.is_file():
        raise SettingsError(f"settings file {env_file}: no such file")
    try:
        in_file = _lines_of(env_file) if env_file else {}
        _check_moved({**in_file, **os.environ})
        if unknown := unknown_names(in_file, Settings.model_fields):
            raise SettingsError(f"settings file {env_file}: " + "\n".join(unknown))
        return Settings(_env_file=env_file, **overrides)
    except ValidationError as error:
        raise SettingsError("\n".join(_explain(each) for each in error.errors())) from None
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise SettingsError(f"settings file {env_file}: {why}") from None


def _lines_of(env_file: Path) -> Mapping[str, str | None]:
    """Return the lines of a settings file; pydantic leaves out those that it cannot read."""
    from dotenv.parser import parse_stream  # what pydantic-settings reads such files with

    with env_file.open(encoding="utf-8") as lines:
        for each in parse_stream(lines):
            if each.error:
                raise SettingsError(
                    f"settings file {env_file}, line {each.original.line}: must be NAME=value; is a"
                    " quote left open, or a value with blanks not quoted?"
                )
    return DotEnvSettingsSource(Settings, env_file=env_file).env_vars


def _check_moved(given: Mapping[str, str | None]) -> None:
    file = next((given[name] for name in given if name.upper() == f"{PREFIX}PERSONAS_FILE"), None)
    if file:
        raise SettingsError(
            f"{PREFIX}PERSONAS_FILE is now {PREFIX}SEGMENTATION: in {file} rename each [[persona]]"
            ' to [[segment]], put features = ["purchases", "spend", "age", "income", "urbanicity"]'
            f" before the first, and set {PREFIX}SEGMENTATION={file}"
        )


def unread() -> list[str]:
    """Return a message for each environment variable with our prefix that is not a setting.

    These are not errors, unlike in a settings file: other software also sets variables, such as
    Kubernetes for a service called livesegments.
    """
    return unknown_names(os.environ, Settings.model_fields)


def without_prefix(env_file: Path) -> list[str]:
    """Return a message for each setting that a file names without our prefix, and so to no effect.

    These are not errors either: the file may also be that of other software.
    """
    names = {name.upper() for name in _lines_of(env_file)}
    return [
        f"settings file {env_file}: {name} is not read; is {named(name)} meant?"
        for name in sorted(names & {each.upper() for each in Settings.model_fields})
        if named(name) not in names
    ]


def _explain(error: Any) -> str:
    message = error["msg"].removeprefix("Value error, ")
    if not error["loc"]:
        return str(message)
    name = str(error["loc"][0])
    value = error["input"]
    told = name in Settings.secrets() or (value and message.startswith(f"{value}"))
    given = "" if told else f" (it is {value!r})"
    return f"{named(name)}: {message}{given}"


def describe(settings: Settings) -> list[dict[str, str]]:
    """Return name, value and default as text (secrets masked), and description of each setting."""
    return [
        {
            "name": named(name),
            "value": _shown(getattr(settings, name)),
            "default": _shown(field.default),
            "description": field.description or "",
        }
        for name, field in Settings.model_fields.items()
    ]


def _shown(value: Any) -> str:
    return "" if value is None else str(value)
