"""Order of imports: the packages of the service, then the tools around it."""

import ast
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
BELOW = {
    "contracts": set(),
    "topic_prefix": set(),
    "model": set(),
    "features": {"contracts", "model"},
    "store": set(),
    "domain": {"contracts", "model", "features", "store"},
    "producers": {"contracts", "topic_prefix", "store", "domain", "extras"},
    "monitoring": {"contracts", "model", "features"},
    "consumers": {
        *("contracts", "topic_prefix", "model", "features", "store", "domain", "producers"),
        "monitoring",
    },
}
"""What each package of the service may import, in the order of CONTRIBUTING.md."""
TOOLS = ("demo", "analysis", "rendering", "cli", "local_servers")
PARTS = ("body", "orelse", "finalbody", "handlers", "cases")
"""Of a statement: the statements inside it."""
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


@cache
def imported(path: Path) -> tuple[str, ...]:
    """The names that a module imports anywhere, except for type checking only."""
    return tuple(_imported(path))


def _imported(path: Path) -> Iterator[str]:
    todo: list[ast.AST] = [ast.parse(path.read_text("utf-8"))]
    while todo:
        node = todo.pop()
        if isinstance(node, ast.Import):
            yield from (each.name for each in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path}: a relative import"
            assert node.module
            yield node.module
            yield from (f"{node.module}.{each.name}" for each in node.names)
        elif isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            todo += node.orelse
        else:
            todo += [each for name in PARTS for each in getattr(node, name, ())]


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
        *(name for name in MODULES if name.split(".")[1] in BELOW),
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


@pytest.mark.parametrize("package", BELOW)
def test_a_package_imports_only_those_below_it(package: str) -> None:
    wrong = {
        (name, each)
        for name, path in MODULES.items()
        if name.split(".")[1] == package
        for each in imported(path)
        if each.startswith("livesegments.") and each.split(".")[1] not in {package, *BELOW[package]}
    }
    assert wrong == set()


def test_the_stated_order_is_one() -> None:
    done: set[str] = set()
    for package, below in BELOW.items():
        assert below - {"extras"} <= done
        done.add(package)


def test_every_import_is_of_the_namespace() -> None:
    listed = subprocess.run(
        ["git", "ls-files", "*.py"], cwd=ROOT, check=True, capture_output=True, text=True
    )
    wrong = {
        (file, each)
        for file in listed.stdout.splitlines()
        if (ROOT / file).is_file()
        for each in imported(ROOT / file)
        if each.split(".")[0] in {*BELOW, ""}
    }
    assert wrong == set()
