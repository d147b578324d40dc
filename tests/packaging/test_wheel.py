"""The installed package is complete: the wheel, in its own environment and outside the tree."""

import os
import shutil
import subprocess
import sys
import time
import venv
import zipfile
from pathlib import Path

import pytest

import livesegments
from tests.servers import KafkaServer, RedisServer

ROOT = Path(__file__).resolve().parents[2]
LINKED = ("consumers", "producers", "model")
"""Folders at the top of the repository that are packages of the namespace by a link."""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the wheel from the files tracked by git, as a fresh clone would."""
    source, out = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    )
    for name in filter(None, listed.stdout.split("\0")):
        if (ROOT / name).is_symlink() or (ROOT / name).is_file():
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, source / name, follow_symlinks=False)
    build = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation"]
    subprocess.run([*build, "--wheel-dir", str(out), str(source)], check=True)
    [built] = out.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def command(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Install the wheel with access to the installed dependencies but not to the tree."""
    where = tmp_path_factory.mktemp("installed")
    venv.create(where, with_pip=False, symlinks=True)
    [packages] = where.glob("lib/python*/site-packages")
    install = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target"]
    subprocess.run([*install, str(packages), str(wheel)], check=True)
    here = next(path for path in sys.path if path.endswith("site-packages"))
    # An editable install of the tree is in a .pth file, which is not read from another .pth's path.
    (packages / "dependencies.pth").write_text(here)
    script = where / "bin" / "livesegments"
    script.write_text(
        f"#!{where / 'bin' / 'python'}\nfrom livesegments.cli import main\n"
        "if __name__ == '__main__':\n    main()\n"
    )
    script.chmod(0o755)
    return script


@pytest.fixture(scope="module")
def in_the_way(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder on ``PYTHONPATH`` with a user's own packages of common names."""
    folder = tmp_path_factory.mktemp("own")
    for name in ("consumers", "features", "model", "monitoring", "producers", "store"):
        (folder / name).mkdir()
        (folder / name / "__init__.py").write_text("raise RuntimeError('a user's own package')")
    (folder / "contracts.py").write_text("raise RuntimeError('a user's own module')")
    return folder


def run(command: Path, in_the_way: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [command, *arguments],
        cwd=command.parent,
        env={**os.environ, "PYTHONPATH": str(in_the_way)},
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_wheel_has_one_top_level_name_and_every_file_of_it(wheel: Path) -> None:
    names = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info" not in name}
    assert {name.split("/")[0] for name in names} == {"livesegments"}
    folders = ["livesegments", *LINKED]
    tracked = subprocess.run(
        ["git", "ls-files", *folders], cwd=ROOT, check=True, capture_output=True, text=True
    ).stdout.split("\n")
    files = {name for name in tracked if name and (ROOT / name).is_file()}
    inside = {
        name if name.startswith("livesegments/") else f"livesegments/{name}" for name in files
    }
    assert inside <= names


def test_the_wheel_says_its_version(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        name = next(name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        about = archive.read(name).decode()
    assert f"\nVersion: {livesegments.__version__}\n" in about


def test_an_installed_command_is_not_that_of_the_tree(command: Path) -> None:
    code = "import livesegments, livesegments.model as m; print(livesegments.__file__, m.__file__)"
    found = subprocess.run(
        [command.parent / "python", "-c", code],
        cwd=command.parent,
        capture_output=True,
        text=True,
        check=True,
    )
    assert str(ROOT) not in found.stdout


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--version"], livesegments.__version__),
        (["settings"], "LIVESEGMENTS_REDIS_URL="),
        (["segmentation", "--template"], "[[segment]]"),
    ],
)
def test_an_installed_command_works_outside_the_tree(
    command: Path, in_the_way: Path, arguments: list[str], said: str
) -> None:
    done = run(command, in_the_way, *arguments)
    assert (done.returncode, done.stderr) == (0, "")
    assert said in done.stdout


def test_an_installed_backtest_writes_its_page(
    command: Path, in_the_way: Path, tmp_path: Path
) -> None:
    """The page needs the data files of the package: styles and the contract."""
    history = tmp_path / "history.csv"
    rows = [
        f"e{i},c{i % 40},2024-01-{1 + i // 40:02d}T08:00:00Z,purchase,{1 + i % 40 * i % 90},USD"
        for i in range(800)
    ]
    history.write_text(
        "event_id,customer_id,occurred_at,kind,amount,currency\n" + "\n".join(rows) + "\n"
    )
    page = tmp_path / "page.html"
    environment = "LIVESEGMENTS_WARMUP_CUSTOMERS=30\n"
    (tmp_path / "settings.env").write_text(environment)
    done = run(
        command,
        in_the_way,
        "--env-file",
        str(tmp_path / "settings.env"),
        "backtest",
        str(history),
        "--html",
        str(page),
    )
    assert done.returncode == 0, done.stderr
    assert "<style>" in page.read_text()


@pytest.mark.servers
def test_a_worker_starts_beside_packages_of_common_names(
    command: Path,
    in_the_way: Path,
    fresh_kafka: KafkaServer,
    fresh_redis: RedisServer,
    tmp_path: Path,
) -> None:
    environment = {
        **os.environ,
        "PYTHONPATH": str(in_the_way),
        "LIVESEGMENTS_KAFKA_BOOTSTRAP_SERVERS": fresh_kafka.bootstrap,
        "LIVESEGMENTS_REDIS_URL": fresh_redis.url,
        "LIVESEGMENTS_HTTP_PORT": "0",
    }
    log = tmp_path / "log"
    with log.open("w") as out:
        worker = subprocess.Popen([command, "run"], env=environment, cwd=tmp_path, stderr=out)
    try:
        deadline = time.monotonic() + 60
        while "owns partitions" not in log.read_text():
            assert worker.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.2)
        worker.terminate()
        assert worker.wait(30) == 0
    finally:
        worker.kill()
        worker.wait()
