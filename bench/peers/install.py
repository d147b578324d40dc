"""Installation of the peers into ``.cache/bench-peers``; none is a dependency of ours."""

import hashlib
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

HERE = Path(__file__).parent
CACHE = HERE.parents[1] / ".cache" / "bench-peers"


class InstallError(RuntimeError):
    """A peer cannot be installed here; the message names the missing part."""


def python_program(name: str) -> list[str]:
    """Return the command of a Python peer, in a virtual environment with pinned packages."""
    requirements = HERE / "requirements.txt"
    folder = _folder("python", requirements)
    python = folder / "bin" / "python"
    if not (folder / ".installed").exists():
        _run([sys.executable, "-m", "venv", "--clear", str(folder)])
        quiet = ["--quiet", "--disable-pip-version-check"]
        _run([str(python), "-m", "pip", "install", *quiet, "-r", str(requirements)])
        (folder / ".installed").touch()
    return [str(python), str(HERE / f"{name}.py")]


def java_program(name: str, options: Sequence[str] = ()) -> list[str]:
    """Return the command of a Java peer, with jars from Maven Central, compiled here."""
    for program in ("mvn", "javac"):
        if shutil.which(program) is None:
            raise InstallError(f"no {program}: install Maven and a JDK, not only a JRE")
    source, pom = HERE / name / "Peer.java", HERE / name / "pom.xml"
    folder = _folder(name, source, pom)
    if not (folder / ".installed").exists():
        shutil.rmtree(folder, ignore_errors=True)
        copy = ["mvn", "-q", "-B", "-f", str(pom), "dependency:copy-dependencies"]
        _run([*copy, f"-DoutputDirectory={folder / 'jars'}", "-DincludeScope=runtime"])
        _run(["javac", "-d", str(folder), "-cp", f"{folder / 'jars'}/*", str(source)])
        (folder / ".installed").touch()
    return ["java", *options, "-cp", f"{folder}:{folder / 'jars'}/*", "Peer"]


def _folder(name: str, *made_from: Path) -> Path:
    """Return the folder of a peer; its name changes whenever the peer's sources change."""
    content = hashlib.sha256(b"".join(path.read_bytes() for path in made_from))
    return CACHE / f"{name}-{content.hexdigest()[:12]}"


def _run(command: Sequence[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise InstallError(f"{command[0]} failed: {done.stdout[-2000:]}{done.stderr[-2000:]}")
