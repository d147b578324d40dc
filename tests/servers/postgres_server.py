"""PostgreSQL itself as a child process on a free loopback port."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from tempfile import mkdtemp

from livesegments.local_servers import LOOPBACK, ServerError, accepts_connections, free_ports
from tests.servers.process import ServerProcess, SingleServer

_NOBODY = 65534


class PostgresServer(SingleServer):
    """A PostgreSQL server with one database and one user, ``postgres``, who needs no password.

    It refuses to run as root, and then runs as nobody; so its data is in a folder of its own.
    """

    def __init__(self) -> None:
        self._folder = Path(mkdtemp(prefix="postgres-"))
        [self.port] = free_ports(1)
        as_nobody: list[str] = []
        if os.geteuid() == 0:
            os.chown(self._folder, _NOBODY, _NOBODY)
            as_nobody = ["setpriv", f"--reuid={_NOBODY}", f"--regid={_NOBODY}", "--clear-groups"]
        data = str(self._folder / "data")
        options = ["--auth=trust", "--username=postgres", "--no-sync", "--encoding=UTF8"]
        subprocess.run(
            [*as_nobody, _program("initdb"), "--pgdata", data, *options],
            check=True,
            capture_output=True,
        )
        command = [_program("postgres"), "-D", data, "-p", f"{self.port}", "-h", LOOPBACK]
        command += ["-k", str(self._folder), "-c", "fsync=off"]
        self._process = ServerProcess(
            "PostgreSQL", [*as_nobody, *command], self._folder / "postgres.log"
        )

    @property
    def url(self) -> str:
        """JDBC URL of its database."""
        return f"jdbc:postgresql://{LOOPBACK}:{self.port}/postgres"

    def query(self, sql: str) -> list[list[str]]:
        """Return the rows of a statement as text, an empty cell for null.

        Raises
        ------
        ServerError
            If the statement fails.
        """
        options = ["-h", LOOPBACK, "-p", f"{self.port}", "-U", "postgres", "--no-psqlrc", "-qAt"]
        command = [_program("psql"), *options, "-F", "\t", "-c", sql]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise ServerError(done.stderr)
        return [line.split("\t") for line in done.stdout.splitlines()]

    def __exit__(self, *_: object) -> None:
        super().__exit__()
        shutil.rmtree(self._folder)

    def _is_ready(self) -> bool:
        if not accepts_connections(self.port):
            return False
        try:
            return self.query("SELECT 1") == [["1"]]
        except ServerError:
            return False


def _program(name: str) -> str:
    folders = sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    where = os.pathsep.join([*map(str, folders), os.environ["PATH"]])
    found = shutil.which(name, path=where)
    if found is None:
        raise ServerError(f"no {name}: run scripts/install-servers")
    return found
