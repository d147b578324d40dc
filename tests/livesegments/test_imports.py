"""Modules that commands import, for users wait for each of them."""

import subprocess
import sys

import pytest

SLOW = ("pandas", "pyarrow", "scipy", "sklearn", "river.drift")


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
        "livesegments.client",
        "livesegments.operations.dead_letters_replay",
        "livesegments.operations.doctor",
        "livesegments.analysis.watch.session",
        "livesegments.app",
        "livesegments.producers.publishing_process",
    ],
)
def test_a_command_imports_nothing_slow_before_it_needs_it(module: str) -> None:
    assert imported_by(module) == set()


def test_the_publishers_process_imports_nothing_of_the_store() -> None:
    assert "redis" not in imported_by("livesegments.producers.publishing_process", ("redis",))
