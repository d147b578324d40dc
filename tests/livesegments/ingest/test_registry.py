"""Answers of a Schema Registry that goes away."""

import socket
import threading

import pytest

from livesegments.ingest.definitions import RegistryConnection
from livesegments.ingest.registry import RegistryError, SchemaRegistry


@pytest.mark.parametrize(
    "answer", [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{", b"no\r\n"]
)
def test_an_answer_that_ends_early_is_no_answer(answer: bytes) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def reply() -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(65_536)
                connection.sendall(answer)

        thread = threading.Thread(target=reply)
        thread.start()
        registry = SchemaRegistry(
            RegistryConnection(url=f"http://127.0.0.1:{server.getsockname()[1]}")
        )
        with pytest.raises(RegistryError):
            registry.schema(1, "AVRO")
        thread.join()
