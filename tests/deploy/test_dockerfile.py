"""Files in the Dockerfile exist, and it installs exactly the locked packages of a worker."""

import fnmatch
import re
import subprocess
import sys
import tomllib

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


def names(lock: str) -> dict[str, Requirement]:
    """Return the pinned requirements of a lock file by name."""
    lines = [line.removesuffix(" \\") for line in lock.splitlines() if line and line[0].isalnum()]
    found = [Requirement(line) for line in lines]
    assert all(re.fullmatch("==[^,*]+", str(each.specifier)) for each in found)
    assert lock.count("--hash=sha256:") >= len(found)
    return {each.name: each for each in found}


def test_the_worker_gets_every_dependency_and_nothing_else_in_the_versions_that_were_tested() -> (
    None
):
    everything = names((ROOT / "requirements.lock").read_text())
    worker = names((ROOT / "requirements-worker.lock").read_text())
    extras = PROJECT["project"]["optional-dependencies"]
    of_worker = (*PROJECT["project"]["dependencies"], *extras["files"])
    wanted = {Requirement(each).name for each in of_worker}
    assert wanted <= set(worker)
    assert worker.items() <= everything.items()
    more = {Requirement(each).name for each in (*extras["demo"], *extras["dev"])}
    assert not (more - wanted - {PROJECT["project"]["name"]}) & set(worker)


def test_the_build_tool_is_pinned_with_its_hashes() -> None:
    [script] = [arguments for name, arguments in INSTRUCTIONS if "build-tools" in arguments]
    [sed] = re.findall(r"sed -n '[^']*' requirements\.lock", script)
    taken = subprocess.run(["sh", "-c", sed], cwd=ROOT, check=True, capture_output=True, text=True)
    assert set(names(taken.stdout)) == {"setuptools"}


def test_every_download_is_checked_against_its_hash() -> None:
    installs = re.findall(r"pip (?:\S+ \S+ )?install [^&]*", (ROOT / "Dockerfile").read_text())
    assert len(installs) == 3
    for each in installs:
        assert "--require-hashes" in each or "--no-index" in each


def test_dependencies_are_a_layer_before_the_source_and_no_tool_is_in_the_last_stage() -> None:
    stages = [i for i, (name, _) in enumerate(INSTRUCTIONS) if name == "FROM"]
    first, last = INSTRUCTIONS[: stages[1]], INSTRUCTIONS[stages[-1] :]
    assert [arguments for name, arguments in first if name == "COPY"] == [
        "requirements-worker.lock ./"
    ]
    assert [arguments.split()[0] for name, arguments in last if name == "COPY"] == [
        "--from=dependencies",
        "--from=build",
    ]
    assert not any("pip" in arguments for name, arguments in last if name == "RUN")
    assert any("venv --without-pip" in arguments for _, arguments in first)


def test_the_image_has_a_python_that_the_project_takes() -> None:
    bases = {arguments.split()[0] for name, arguments in INSTRUCTIONS if name == "FROM"}
    [base] = bases - {"dependencies"}  # built in one stage, run in the other
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
