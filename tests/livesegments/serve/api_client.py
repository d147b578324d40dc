"""Connections to a server of the API."""

import http.client
import json
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

TOKEN = "a-token-of-these-tests"
BEARER = {"Authorization": f"Bearer {TOKEN}"}


@dataclass(frozen=True)
class Answer:
    """Answer of the server."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Client:
    """Connections to a server of the API."""

    def __init__(self, port: int) -> None:
        self.port = port

    def request(
        self,
        path: str,
        *,
        method: str = "GET",
        headers: Mapping[str, str] = BEARER,
        body: bytes | None = None,
    ) -> Answer:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            connection.request(method, f"/api/v1{path}", body, dict(headers))
            found = connection.getresponse()
            return Answer(found.status, {k.lower(): v for k, v in found.getheaders()}, found.read())
        finally:
            connection.close()

    def customer(self, name: str, **headers: str) -> Answer:
        return self.request(f"/customers/{quote(name, safe='')}", headers={**BEARER, **headers})

    def stream(self, last: str = "") -> "Stream":
        return Stream(self.port, last)


class Stream:
    """A client of the changes."""

    def __init__(self, port: int, last: str = "") -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=20)
        headers = {"Host": "x", **BEARER} | ({"Last-Event-ID": last} if last else {})
        lines = [f"{name}: {value}" for name, value in headers.items()]
        request = "\r\n".join(["GET /api/v1/changes HTTP/1.1", *lines, "", ""])
        self.socket.sendall(request.encode())
        self._file = self.socket.makefile("rb")
        self.status = int(self._file.readline().split()[1])
        while self._file.readline().strip():
            pass

    def events(self, count: int) -> list[dict[str, str]]:
        """Return the next events."""
        found: list[dict[str, str]] = []
        event: dict[str, str] = {}
        while len(found) < count:
            line = self._file.readline().decode().rstrip("\r\n")
            name, colon, value = line.partition(": ")
            if name in ("id", "event", "data") and colon:
                event[name] = value
            elif not line:
                found += [event] if "data" in event else []
                event = {}
        return found

    def close(self) -> None:
        self._file.close()
        self.socket.close()
