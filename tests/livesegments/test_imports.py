"""Modules that commands import, for users wait for each of them."""

import subprocess
import sys

import pytest

SLOW = ("duckdb", "pandas", "pyarrow", "scipy", "sklearn", "river.drift")


def imported_by(module: str, looked_for: tuple[str, ...] = SLOW) -> set[str]:
    names = f"[name for name in {looked_for} if name in sys.modules]"
    program = f"import sys, {module}; print(*{names})"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    return set(done.stdout.split())


@pytest.mark.parametrize(
    "module",
    [
        "livesegments.operations.subscribe",
        "livesegments.operations.dead_letters_replay",
        "livesegments.operations.doctor",
        "livesegments.analysis.watch.session",
        "livesegments.app",
        "livesegments.producers.publishing_process",
    ],
)
def test_a_command_imports_nothing_slow_before_it_needs_it(module: str) -> None:
    assert imported_by(module) == set()


@pytest.mark.parametrize(
    ("module", "needless"),
    [
        ("livesegments.producers.publishing_process", "redis"),
        ("livesegments.config.connectivity", "livesegments.model"),
        ("livesegments.demo.run", "pydantic"),
        ("livesegments.demo.dataset", "pandas"),
        ("livesegments.demo.summary", "pandas"),
    ],
)
def test_no_program_waits_for_an_import_that_it_does_not_need(module: str, needless: str) -> None:
    assert needless not in imported_by(module, (needless,))


CHANGED = """
import contextlib, importlib, logging, pkgutil, sys
import kafka

def import_all(package, *expected):
    for module in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
        if not module.name.endswith(".__main__"):
            with contextlib.suppress(*expected):
                importlib.import_module(module.name)

def state():
    found = {}
    for name, module in list(sys.modules.items()):
        if name.partition(".")[0] == "kafka":
            todo = [(name, module)]
            while todo:
                where, owner = todo.pop()
                for key, value in list(vars(owner).items()):
                    found[f"{where}.{key}"] = (id(value), value)  # kept, so that ids stay unique
                    if isinstance(value, type) and value.__module__ == name:
                        todo.append((f"{where}.{key}", value))
    for name, logger in logging.root.manager.loggerDict.items():
        if name.partition(".")[0] == "kafka" and isinstance(logger, logging.Logger):
            levels = logger.level, len(logger.handlers), logger.propagate, logger.disabled
            found[f"logger {name}"] = (levels, logger)
    return found

import_all(kafka, ImportError)  # optional dependencies
before = state()
import livesegments
import_all(livesegments)
after = state()
assert len(before) > 1_000
assert "livesegments.consumers.columnar_reader" in sys.modules
assert "livesegments.producers.record_batch" in sys.modules
for name in sorted(before.keys() | after.keys()):
    if before.get(name, [None])[0] != after.get(name, [None])[0]:
        print(name)
"""


def test_importing_livesegments_changes_nothing_in_kafka_python() -> None:
    done = subprocess.run([sys.executable, "-c", CHANGED], capture_output=True, text=True)
    assert (done.stdout, done.returncode) == ("", 0), done.stderr
