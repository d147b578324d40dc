"""The service never imports the tools around it: demo, analysis, pages and the command line."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SERVICE = ("contracts", "features", "model", "store", "consumers", "producers", "monitoring")
TOOLS = ("demo", "analysis", "rendering", "cli", "embedded")
LIBRARIES = ("typer", "rich", "jinja2")


def modules() -> dict[str, Path]:
    """Every module of ours by its dotted name."""
    found = {}
    for top in ("consumers", "producers", "model", "livesegments"):
        for path in (ROOT / top).rglob("*.py"):
            parts = path.relative_to(ROOT).with_suffix("").parts
            name = ".".join(parts).removesuffix(".__init__").removeprefix("livesegments.")
            found[f"livesegments.{name}"] = path
    return found


MODULES = modules()


def imported(path: Path) -> Iterator[str]:
    """The names that a module imports anywhere, except for type checking only."""
    tree = ast.parse(path.read_text("utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            node.body = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (each.name for each in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{each.name}" for each in node.names)


def reached(start: str) -> dict[str, str]:
    """Modules imported directly or through others of ours -> the importing module."""
    found, todo = {start: ""}, [start]
    while todo:
        module = todo.pop()
        for name in imported(MODULES[module]):
            if name not in found:
                found[name] = module
                if name in MODULES:
                    todo.append(name)
    return found


def is_tool(name: str) -> bool:
    parts = name.split(".")
    return parts[0] in LIBRARIES or (
        parts[0] == "livesegments" and parts[1:2] in [[t] for t in TOOLS]
    )


@pytest.mark.parametrize(
    "start",
    [
        *(name for name in MODULES if name.split(".")[1] in SERVICE),
        "livesegments.app",
    ],
)
def test_the_service_imports_no_tool(start: str) -> None:
    assert {name: by for name, by in reached(start).items() if is_tool(name)} == {}


@pytest.mark.parametrize(
    "module", [name for name in MODULES if name.startswith("livesegments.operations.verify.")]
)
def test_the_verifier_shares_no_code_with_what_it_checks(module: str) -> None:
    checked = [f"livesegments.{each}" for each in ("consumers", "features", "model", "producers")]
    assert [name for name in reached(module) if name.startswith(tuple(checked))] == []


def test_a_tool_is_recognised() -> None:
    assert is_tool("livesegments.demo.run")
    assert is_tool("rich.table")
    assert not is_tool("livesegments.config.settings")
    assert is_tool(next(n for n in reached("livesegments.cli.demo") if n.startswith("rich")))
