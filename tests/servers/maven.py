"""Jars from Maven Central, fetched once and kept in ``.cache`` at the top of the repository."""

import fcntl
import shutil
import subprocess
from pathlib import Path

from livesegments.local_servers import ServerError

_REPOSITORY = Path(__file__).resolve().parents[2]


def jars(pom: Path, name: str, **properties: str) -> Path:
    """Return a folder of ``.cache`` with the dependencies of a POM; fill it the first time.

    Parameters
    ----------
    pom
        The POM.
    name
        Name of the folder, with the versions in it.
    **properties
        Properties of the POM; underscores stand for dots.
    """
    cache = _REPOSITORY / ".cache"
    folder = cache / name
    cache.mkdir(exist_ok=True)
    with (cache / "kafka-libs.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.exists():
            _fetch(pom, folder, properties)
    return folder


def _fetch(pom: Path, folder: Path, properties: dict[str, str]) -> None:
    if shutil.which("mvn") is None or shutil.which("java") is None:
        raise ServerError("Apache Kafka needs Java and Maven: run scripts/install-servers")
    partial = folder.with_suffix(".partial")
    shutil.rmtree(partial, ignore_errors=True)
    command = ["mvn", "-q", "-B", "-f", str(pom), "dependency:copy-dependencies"]
    command += [f"-DoutputDirectory={partial}", "-DincludeScope=runtime"]
    command += [f"-D{key.replace('_', '.')}={value}" for key, value in properties.items()]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise ServerError(f"Maven could not fetch {folder.name}:\n{done.stdout}{done.stderr}")
    partial.rename(folder)
