"""Apicurio Registry, whose API is that of Confluent's Schema Registry, as a child process.

It comes from Maven Central once and is kept in ``.cache`` at the top of the repository.
"""

from __future__ import annotations

import fcntl
import json
import shutil
import subprocess
import tarfile
import urllib.request
from pathlib import Path
from typing import Any

from livesegments.local_servers import LOOPBACK, ServerError, free_ports
from tests.servers.process import ServerProcess, SingleServer

APICURIO_VERSION = "2.6.13.Final"

_REPOSITORY = Path(__file__).resolve().parents[2]
_JVM = ("-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1")


class RegistryServer(SingleServer):
    """A schema registry that keeps its schemas in memory.

    Parameters
    ----------
    directory
        Folder of its log; created when missing.
    """

    _start_timeout = 60.0

    def __init__(self, directory: Path) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        [self._port] = free_ports(1)
        options = [f"-Dquarkus.http.port={self._port}", f"-Dquarkus.http.host={LOOPBACK}"]
        runner = registry_folder() / f"apicurio-registry-app-{APICURIO_VERSION}-runner.jar"
        command = ["java", *_JVM, *options, "-jar", str(runner)]
        self._process = ServerProcess("Apicurio Registry", command, directory / "registry.log")

    @property
    def url(self) -> str:
        """Base URL of Confluent's API."""
        return f"http://{LOOPBACK}:{self._port}/apis/ccompat/v7"

    def register(
        self,
        subject: str,
        schema: str,
        kind: str = "AVRO",
        references: tuple[dict[str, Any], ...] = (),
    ) -> int:
        """Register a version of a subject; return the id of its schema."""
        body = {"schema": schema, "schemaType": kind, "references": list(references)}
        request = urllib.request.Request(
            f"{self.url}/subjects/{subject}/versions",
            json.dumps(body).encode(),
            {"Content-Type": "application/vnd.schemaregistry.v1+json"},
        )
        with urllib.request.urlopen(request, timeout=30) as answer:
            return int(json.load(answer)["id"])

    def _is_ready(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.url}/subjects", timeout=1):
                return True
        except OSError:
            return False


def registry_folder() -> Path:
    """Return the folder of Apicurio Registry; fetch it from Maven Central the first time."""
    cache = _REPOSITORY / ".cache"
    folder = cache / f"apicurio-registry-{APICURIO_VERSION}"
    cache.mkdir(exist_ok=True)
    with (cache / "apicurio-registry.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.exists():
            _fetch(folder)
    return folder


def _fetch(folder: Path) -> None:
    if shutil.which("mvn") is None or shutil.which("java") is None:
        raise ServerError("Apicurio Registry needs Java and Maven: run scripts/install-servers")
    partial = folder.with_suffix(".partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    artifact = f"io.apicurio:apicurio-registry-app:{APICURIO_VERSION}:tar.gz:all"
    command = ["mvn", "-q", "-B", "dependency:copy", f"-Dartifact={artifact}"]
    command += [f"-DoutputDirectory={partial}", "-Dmdep.useBaseVersion=true"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise ServerError(f"Maven could not fetch Apicurio Registry:\n{done.stdout}{done.stderr}")
    [archive] = partial.glob("*.tar.gz")
    with tarfile.open(archive) as tar:
        # Python before 3.11.4 has no filters.
        tar.extraction_filter = getattr(tarfile, "data_filter", lambda member, _: member)
        tar.extractall(partial)  # noqa: S202 - see the line above
    archive.unlink()
    partial.rename(folder)
