"""The wheel alone does its work with only the packages that it requires, and names missing ones."""

import os
import subprocess
import sys
import tomllib
from importlib.metadata import distribution, requires
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from tests.servers import KafkaServer, RedisServer
from tests.service import Service, purchase

ROOT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def required(lines: list[str]) -> set[str]:
    """Return the distributions that requirements install, directly or not."""
    found: set[str] = set()
    waiting = [Requirement(line) for line in lines]
    while waiting:
        each = waiting.pop()
        for line in requires(each.name) or []:
            needed = Requirement(line)
            extras = each.extras or {""}
            if needed.name not in found and (
                needed.marker is None or any(needed.marker.evaluate({"extra": e}) for e in extras)
            ):
                waiting.append(needed)
        found.add(each.name)
    return found


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the required packages and no others."""
    folder = tmp_path_factory.mktemp("packages")
    for name in required(PROJECT["dependencies"]):
        installed = distribution(name)
        tops = {file.parts[0] for file in installed.files or () if file.parts[0] != ".."}
        for top in tops - {"__pycache__"}:
            (folder / top).symlink_to(Path(str(installed.locate_file(top))))
    return folder


def environment(alone: Path, **settings: str) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": f"{alone}:{ROOT}", **settings}


COMMAND = [sys.executable, "-S", "-m", "livesegments.cli"]
"""Without the environment's own packages."""


def run(alone: Path, *arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, *arguments],
        env=environment(alone, **settings),
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture
def files(tmp_path: Path) -> Path:
    (tmp_path / "history.parquet").touch()
    (tmp_path / "SOURCES.toml").write_text(
        '[[source]]\nname = "a"\ntopic = "a"\ninto = "purchases"\nquery = "SELECT 1 FROM source"\n'
    )
    return tmp_path


@pytest.mark.parametrize(
    ("arguments", "extra"),
    [(["demo"], "demo"), (["backtest", "history.parquet"], "files")],
)
def test_a_missing_extra_is_one_sentence_that_names_it(
    alone: Path, files: Path, arguments: list[str], extra: str
) -> None:
    here = [str(files / each) if each.endswith("parquet") else each for each in arguments]
    done = run(alone, *here)
    assert done.returncode == 1
    assert done.stdout == ""
    [line] = done.stderr.splitlines()
    assert line.endswith(f"which is not installed: pip install 'livesegments[{extra}]'")
    assert extra in PROJECT["optional-dependencies"]


@pytest.mark.servers
def test_the_wheel_alone_runs_a_worker_and_the_commands_of_an_operator(
    alone: Path, fresh_kafka: KafkaServer, fresh_redis: RedisServer, tmp_path: Path
) -> None:
    service = Service(fresh_kafka, fresh_redis, tmp_path)
    settings = {
        name: value
        for name, value in service.full_environment(HTTP_PORT="0").items()
        if name.startswith("LIVESEGMENTS_")
    }
    worker = subprocess.Popen([*COMMAND, "run"], env=environment(alone, **settings))
    try:
        service.send(
            purchase(f"c{i:02d}", f"2024-01-{day:02d}T10:00:00Z", 5.0 + i * day)
            for day in range(1, 6)
            for i in range(60)
        )
        service.wait_for(service.has_model, "everyone is scored")
        service.wait()
        worker.terminate()
        assert worker.wait(60) == 0
    finally:
        worker.kill()
        worker.wait()
    for command in (["verify"], ["customer", "c01"]):
        done = run(alone, *command, **settings)
        assert done.returncode == 0, done.stderr
    csv, parquet = (
        run(alone, "export", *to, **settings) for to in (["-"], [f"{tmp_path}/x.parquet"])
    )
    assert csv.returncode == 0, csv.stderr
    assert len(csv.stdout.splitlines()) == 61
    assert parquet.returncode == 1
    assert parquet.stderr.strip().endswith("pip install 'livesegments[files]'")
    assert not list(tmp_path.glob("x.parquet*"))
