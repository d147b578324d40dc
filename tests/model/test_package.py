"""The model package is pure: documented, and independent of the other packages."""

import ast
import doctest
import importlib
import pkgutil
from pathlib import Path

import pytest

from livesegments import model
from livesegments.model import MiniBatchKMeans
from livesegments.model.cluster_statistics import ClusterStatistics
from livesegments.model.generation import Generation
from livesegments.model.snapshot import ModelSnapshot

MODULES = [f"livesegments.model.{module.name}" for module in pkgutil.iter_modules(model.__path__)]
IMPURE = {"time", "datetime", "random", "os", "socket", "kafka", "redis", "pathlib", "threading"}


@pytest.mark.parametrize("name", MODULES)
def test_examples_in_docstrings_are_right(name: str) -> None:
    assert doctest.testmod(importlib.import_module(name)).failed == 0


def test_public_classes_have_examples() -> None:
    finder = doctest.DocTestFinder()
    for documented in (MiniBatchKMeans, ClusterStatistics, ModelSnapshot, Generation):
        assert any(test.examples for test in finder.find(documented)), documented


@pytest.mark.parametrize("name", MODULES)
def test_the_model_imports_no_other_room_no_io_and_no_clock(name: str) -> None:
    source = importlib.import_module(name).__file__
    assert source is not None
    imported = set()
    for node in ast.walk(ast.parse(Path(source).read_text())):
        if isinstance(node, ast.Import):
            imported |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            imported.add(node.module)
    ours = {each for each in imported if each.split(".")[0] == "livesegments"}
    assert all(each.startswith("livesegments.model") for each in ours)
    assert not {each.split(".")[0] for each in imported} & IMPURE
