"""Every import of the project's own code goes through ``livesegments``."""

import ast
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = {"consumers", "contracts", "features", "model", "monitoring", "producers", "store"}


def imports(path: Path) -> Iterator[str]:
    """Yield the modules that a file imports."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path}: a relative import"
            yield node.module or ""


def tracked() -> list[str]:
    """Return the Python files of the repository."""
    listed = subprocess.run(
        ["git", "ls-files", "*.py"], cwd=ROOT, check=True, capture_output=True, text=True
    )
    return [name for name in listed.stdout.split("\n") if name and (ROOT / name).is_file()]


def test_every_import_is_of_the_namespace() -> None:
    wrong = {
        name: sorted(found)
        for name in tracked()
        if (found := {each.split(".")[0] for each in imports(ROOT / name)} & PACKAGES)
    }
    assert wrong == {}


@pytest.mark.parametrize(
    ("package", "above"),
    [
        ("livesegments/contracts", ["features", "store", "producers", "consumers"]),
        ("livesegments/features", ["store", "producers", "consumers", "monitoring"]),
        ("model", ["contracts", "features", "store", "producers", "consumers", "monitoring"]),
        ("livesegments/store", ["features", "model", "producers", "consumers", "monitoring"]),
        ("producers", ["features", "model", "consumers", "monitoring"]),
        ("livesegments/monitoring", ["store", "producers", "consumers"]),
        ("consumers", []),
    ],
)
def test_a_package_imports_only_those_below_it(package: str, above: list[str]) -> None:
    above = [*above, "analysis", "cli", "config", "demo", "operations", "rendering", "app"]
    forbidden = tuple(f"livesegments.{name}" for name in above)
    wrong = {
        name: sorted(found)
        for name in tracked()
        if name.startswith(f"{package}/")
        and (found := {each for each in imports(ROOT / name) if each.startswith(forbidden)})
    }
    assert wrong == {}
