"""Settings of `livesegments serve`."""

from ipaddress import ip_address
from pathlib import Path
from typing import Self

from pydantic import Field, SecretStr, model_validator

from livesegments.config import PREFIX
from livesegments.config.server_settings import NO_SECRET, ServerSettings, file_of

LEAST_TOKEN = 16


class ServeSettings(ServerSettings):
    """Address, token and file of the pages and the API."""

    serve_host: str = Field(
        "127.0.0.1",
        min_length=1,
        description="Address of the pages and the API; other than loopback only with a token",
    )
    serve_port: int = Field(
        8080, ge=0, le=65535, description="Port of the pages and the API (0: any free)"
    )
    serve_token: SecretStr = Field(
        NO_SECRET, description="Secret that the pages and the API require"
    )
    serve_token_file: str = file_of("SERVE_TOKEN")
    serve_data: Path = Field(
        Path("livesegments-history.duckdb"),
        description="DuckDB file of the history that serve makes from the topics",
    )
    serve_requests_per_second: float = Field(
        1_000.0,
        ge=0,
        le=1_000_000,
        description="Maximum requests a second from one address (0: no limit)",
    )

    @model_validator(mode="after")
    def _token_is_long(self) -> Self:
        token = self.serve_token.get_secret_value()
        if token and (len(token) < LEAST_TOKEN or not token.isascii() or " " in token):
            raise ValueError(
                f"{PREFIX}SERVE_TOKEN: at least {LEAST_TOKEN} ASCII characters without spaces, as"
                " `openssl rand -hex 32` writes them"
            )
        return self

    @property
    def serve_is_exposed(self) -> bool:
        """True if other machines may reach the pages and the API."""
        try:
            return not ip_address(self.serve_host).is_loopback
        except ValueError:
            return self.serve_host != "localhost"
