"""Queries to start from, for the shapes that widely used software and data sets have."""

import tomllib
from dataclasses import dataclass
from importlib.resources import files
from typing import Literal

from livesegments.ingest.definitions import Into


@dataclass(frozen=True, slots=True)
class Preset:
    """A query to start from; its usage is lines of SOURCES.toml, or a command."""

    name: str
    title: str
    reads: Literal["topic", "file"]
    into: Into
    sql: str
    usage: str

    def text(self) -> str:
        """Return the query, with its title and usage as comments."""
        comments = [self.title + ".", "", *self.usage.splitlines(), ""]
        return "".join(f"-- {line}".rstrip() + "\n" for line in comments) + self.sql


def presets() -> dict[str, Preset]:
    """Return all presets by name."""
    folder = files(__name__)
    names = sorted(
        each.name.removesuffix(".toml") for each in folder.iterdir() if each.name.endswith(".toml")
    )
    return {name: _read(name) for name in names}


def _read(name: str) -> Preset:
    folder = files(__name__)
    about = tomllib.loads((folder / f"{name}.toml").read_text("utf-8"))
    if about["reads"] == "topic":
        usage = (
            f'In SOURCES.toml:\n\n    [[source]]\n    name = "{name}"\n'
            f'    topic = "{about["topic"]}"\n    format = "json"\n    into = "{about["into"]}"\n'
            f'    query = "{name}.sql"\n\n'
            "Try it: livesegments ingest SOURCES.toml --dry-run"
        )
    else:
        usage = f"To use it:\n\n    {about['command']}"
    sql = (folder / f"{name}.sql").read_text("utf-8")
    return Preset(name, about["title"], about["reads"], about["into"], sql, usage)
