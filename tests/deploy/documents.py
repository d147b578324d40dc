"""Parsed deployment files, and the project's definitions of the names in them."""

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import typer
import yaml
from jsonschema import Draft202012Validator

from livesegments.cli import app
from livesegments.config.settings import PREFIX, Settings, load

ROOT = Path(__file__).resolve().parents[2]
KUBERNETES = ROOT / "deploy" / "kubernetes"


def read_yaml(file: Path) -> list[Any]:
    """Return the documents of a file."""
    return list(yaml.safe_load_all(file.read_text()))


def faults(document: Any, schema: Mapping[str, Any]) -> list[str]:
    """Return a document's violations of a schema: location and reason."""
    found = Draft202012Validator(schema).iter_errors(document)
    return [f"{error.json_path}: {error.message}" for error in found]


def compose() -> dict[str, Any]:
    """Return docker-compose.yml with its variables' defaults filled in."""
    text = re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", (ROOT / "docker-compose.yml").read_text())
    [document] = yaml.safe_load_all(text)
    return dict(document)


def dockerfile() -> list[tuple[str, str]]:
    """Return the Dockerfile's instructions: (name, arguments), continued lines joined."""
    text = (ROOT / "Dockerfile").read_text().replace("\\\n", " ")
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    return [(line.split(maxsplit=1)[0], line.split(maxsplit=1)[1]) for line in lines]


def health_check() -> list[str]:
    """Return the command of the image's health check."""
    [check] = [arguments for name, arguments in dockerfile() if name == "HEALTHCHECK"]
    return list(json.loads(check[check.index("[") :]))


def parse_command(arguments: Sequence[str]) -> str:
    """Parse a command line without running it; return the command's name.

    Exits as the command line does on invalid arguments.
    """
    command: Any = typer.main.get_command(app)
    names, rest, context = ["livesegments"], list(arguments), None
    while hasattr(command, "resolve_command"):
        context = command.make_context(names[-1], rest, parent=context)
        name, command, rest = command.resolve_command(
            context, [*context._protected_args, *context.args]
        )
        names.append(name)
    command.make_context(names[-1], rest, parent=context)
    return " ".join(names[1:])


def check_settings(environment: Mapping[str, str]) -> Settings:
    """Check that variables with the prefix are settings, and load them."""
    ours: dict[str, Any] = {
        name.removeprefix(PREFIX).lower(): value
        for name, value in environment.items()
        if name.startswith(PREFIX)
    }
    assert set(ours) <= set(Settings.model_fields), "no such setting"
    return load(**ours)
