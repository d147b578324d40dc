"""Files in the Dockerfile exist, and it installs exactly the locked packages."""

import fnmatch
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from livesegments.config.settings import Settings
from tests.deploy.documents import ROOT, dockerfile, health_check, parse_command

INSTRUCTIONS = dockerfile()
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())


def copied() -> list[str]:
    """Return the paths copied from the repository."""
    sources = []
    for name, arguments in INSTRUCTIONS:
        if name == "COPY" and not arguments.startswith("--from"):
            sources += arguments.split()[:-1]
    return sources


def ignored(path: str) -> bool:
    """Return whether .dockerignore excludes a path of the top folder from the build context."""
    verdict = False
    for line in (ROOT / ".dockerignore").read_text().splitlines():
        if line and not line.startswith("#") and fnmatch.fnmatch(path, line.removeprefix("!")):
            verdict = not line.startswith("!")
    return verdict


@pytest.mark.parametrize("source", copied())
def test_what_is_copied_is_there_and_reaches_the_builder(source: str) -> None:
    assert (ROOT / source).exists()
    assert not ignored(source)


def test_nothing_else_reaches_the_builder() -> None:
    sent = {path.name for path in ROOT.iterdir() if not ignored(path.name)}
    assert sent == set(copied())


def test_every_package_of_the_project_is_copied_and_what_its_build_reads() -> None:
    included = PROJECT["tool"]["setuptools"]["packages"]["find"]["include"]
    assert {package.removesuffix("*") for package in included} <= set(copied())
    assert {PROJECT["project"]["readme"], *PROJECT["project"]["license-files"]} <= set(copied())


def test_the_constraints_pin_every_dependency_and_hold_nothing_that_pip_does_not_take(
    tmp_path: Path,
) -> None:
    [script] = [arguments for name, arguments in INSTRUCTIONS if "constraints" in arguments][:1]
    [sed] = re.findall(r"sed -E '[^']*' requirements\.lock > /tmp/constraints\.txt", script)
    file = tmp_path / "constraints.txt"
    done = sed.replace("/tmp/constraints.txt", str(file))
    subprocess.run(["sh", "-c", done], cwd=ROOT, check=True)
    pinned = [Requirement(line) for line in file.read_text().splitlines()]
    assert all(re.fullmatch("==[^,*]+", str(each.specifier)) for each in pinned)
    names = {each.name for each in pinned}
    assert {Requirement(each).name for each in PROJECT["project"]["dependencies"]} <= names


def test_the_image_has_a_python_that_the_project_takes() -> None:
    bases = {arguments.split()[0] for name, arguments in INSTRUCTIONS if name == "FROM"}
    [base] = bases  # built in one stage, run in the other
    [version] = re.findall(r"^python:([0-9.]+)-slim-\w+$", base)
    assert SpecifierSet(PROJECT["project"]["requires-python"]).contains(version)


def test_it_runs_a_worker_as_nobody_in_particular() -> None:
    last = dict(INSTRUCTIONS)
    assert last["ENTRYPOINT"] == '["livesegments"]'
    assert "livesegments" in PROJECT["project"]["scripts"]
    assert last["CMD"] == '["run"]'
    assert parse_command(["run"]) == "run"
    assert int(last["USER"]) > 0
    assert f"--uid {last['USER']}" in " ".join(arguments for _, arguments in INSTRUCTIONS)
    assert int(last["EXPOSE"]) == Settings.model_fields["http_port"].default


def test_the_health_check_fails_where_no_worker_is() -> None:
    program, *arguments = health_check()
    assert program == "python"
    done = subprocess.run(
        [sys.executable, *arguments],
        env={"LIVESEGMENTS_HTTP_PORT": "1"},
        capture_output=True,
        check=False,
    )
    assert done.returncode == 1
    assert b"refused" in done.stderr.lower()
