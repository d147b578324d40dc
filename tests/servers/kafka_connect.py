"""Kafka Connect in standalone mode, as a child process."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from livesegments.local_servers import LOOPBACK, free_ports
from tests.servers.kafka_server import KafkaServer
from tests.servers.maven import jars
from tests.servers.process import ServerProcess, SingleServer

_POM = Path(__file__).parent / "connect" / "pom.xml"


def connect_jars() -> Path:
    """Return the folder with the jars of Kafka Connect and its plugins; fill it the first time."""
    versions = {"kafka_version": "4.2.1", "debezium_version": "3.4.0.Final"}
    return jars(_POM, "-".join(("connect-libs", *versions.values())), **versions)


class KafkaConnect(SingleServer):
    """A worker of Kafka Connect that forgets its connectors, not their offsets, when it ends."""

    _start_timeout = 120.0

    def __init__(self, kafka: KafkaServer, directory: Path) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        [port] = free_ports(1)
        self._url = f"http://{LOOPBACK}:{port}"
        settings = directory / "worker.properties"
        properties = {
            "bootstrap.servers": kafka.bootstrap,
            "listeners": self._url,
            "offset.storage.file.filename": str(directory / "offsets"),
            "offset.flush.interval.ms": "500",
            "key.converter": "org.apache.kafka.connect.storage.StringConverter",
            "value.converter": "org.apache.kafka.connect.storage.StringConverter",
            "plugin.discovery": "service_load",
        }
        settings.write_text("".join(f"{k}={v}\n" for k, v in properties.items()))
        java = ["java", "-Xmx512m", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC"]
        java += ["-Dorg.slf4j.simpleLogger.defaultLogLevel=warn", "-cp", f"{connect_jars()}/*"]
        main = "org.apache.kafka.connect.cli.ConnectStandalone"
        self._process = ServerProcess(
            "Kafka Connect", [*java, main, str(settings)], directory / "connect.log"
        )

    def create(self, connector: Mapping[str, Any]) -> None:
        """Create a connector, as ``POST /connectors`` does."""
        self._ask("/connectors", json.dumps(connector).encode())

    def state(self, name: str) -> list[str]:
        """Return the states of a connector's tasks, with the trace of those that failed."""
        tasks = self._ask(f"/connectors/{name}/status")["tasks"]
        return [task.get("trace") or task["state"] for task in tasks]

    def _is_ready(self) -> bool:
        try:
            return bool(self._ask("/"))
        except (urllib.error.URLError, ConnectionError):
            return False

    def _ask(self, path: str, body: bytes | None = None) -> Any:
        request = urllib.request.Request(
            self._url + path, body, {"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=60) as response:
            return json.load(response)
