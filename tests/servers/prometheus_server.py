"""Prometheus itself (Debian's ``prometheus``) as a child process on a free loopback port."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from livesegments.local_servers import LOOPBACK, ServerError, free_ports
from tests.servers.process import ServerProcess, SingleServer


class PrometheusServer(SingleServer):
    """A Prometheus that scrapes workers every second, as the job ``livesegments``.

    Parameters
    ----------
    directory
        Folder of its configuration, data and log; created when missing.
    ports
        Ports of the workers, on loopback.
    rules
        Rule files, evaluated every second.
    """

    def __init__(self, directory: Path, ports: Sequence[int], rules: Sequence[Path] = ()) -> None:
        program = shutil.which("prometheus")
        if program is None:
            raise ServerError("no prometheus: run scripts/install-servers")
        directory.mkdir(parents=True, exist_ok=True)
        [self.port] = free_ports(1)
        targets = [f"{LOOPBACK}:{port}" for port in ports]
        config = directory / "prometheus.yml"
        config.write_text(  # JSON is YAML
            json.dumps(
                {
                    "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
                    "rule_files": [str(path.resolve()) for path in rules],
                    "scrape_configs": [
                        {"job_name": "livesegments", "static_configs": [{"targets": targets}]}
                    ],
                }
            )
        )
        self._process = ServerProcess(
            "Prometheus",
            [
                program,
                f"--config.file={config}",
                f"--storage.tsdb.path={directory / 'data'}",
                f"--web.listen-address={LOOPBACK}:{self.port}",
                "--log.level=warn",
            ],
            directory / "prometheus.log",
        )

    def get(self, path: str, parameters: Mapping[str, str]) -> Any:
        """Request its HTTP API; return the data of the answer.

        Raises
        ------
        ServerError
            If it returns an error, such as for an invalid expression; with its message.
        """
        connection = HTTPConnection(LOOPBACK, self.port, timeout=10)
        try:
            connection.request("GET", f"/api/v1/{path}?{urlencode(parameters)}")
            answer = json.load(connection.getresponse())
        finally:
            connection.close()
        if answer["status"] != "success":
            raise ServerError(f"Prometheus: {answer['error']}")
        return answer["data"]

    def query(self, expression: str) -> list[dict[str, Any]]:
        """Return the instant vector of an expression: metric and value of each sample."""
        found: list[dict[str, Any]] = self.get("query", {"query": expression})["result"]
        return found

    def _is_ready(self) -> bool:
        try:
            return bool(self.query("vector(1)"))
        except (OSError, HTTPException, ValueError):
            return False
