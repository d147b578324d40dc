"""Client of a Schema Registry with Confluent's API: schemas of values, and their references."""

import json
import ssl
import time
import urllib.error
import urllib.request
from base64 import b64encode
from collections.abc import Iterator
from dataclasses import dataclass
from http import HTTPStatus
from http.client import HTTPException
from typing import Any
from urllib.parse import quote

from livesegments.ingest.definitions import RegistryConnection

PREFIX_BYTES = 5
"""A zero byte and the id of the schema in four bytes, in front of a value."""

_TIMEOUT_SECONDS = 10.0
_UNKNOWN_SECONDS = 10.0
"""How long an unknown id is not asked for again."""


class RegistryError(RuntimeError):
    """The registry does not answer or refuses the request, so the records have to wait."""


class UndecodableError(ValueError):
    """Bytes that are not of the source's format; the message says why, without any of them."""


@dataclass(frozen=True, slots=True)
class Schema:
    """A schema as it was registered, and those that it refers to, by name, in order of use."""

    text: str
    kind: str
    references: tuple[tuple[str, str], ...]


class SchemaRegistry:
    """Schemas by id, each fetched once, since an id never changes its schema."""

    def __init__(self, connection: RegistryConnection) -> None:
        self._connection = connection
        self._schemas: dict[int, Schema] = {}
        self._unknown_until: dict[int, float] = {}

    def schema(self, schema_id: int, kind: str) -> Schema:
        """Return a schema of a kind, AVRO or PROTOBUF.

        Raises
        ------
        UndecodableError
            If it does not exist, or is of another kind.
        RegistryError
            If the registry does not answer.
        """
        now = time.monotonic()
        if schema_id not in self._schemas and now >= self._unknown_until.get(schema_id, now):
            found = self._get(f"/schemas/ids/{schema_id}")
            if found is None:
                self._unknown_until[schema_id] = now + _UNKNOWN_SECONDS
            else:
                references = dict(self._references(found))
                self._schemas[schema_id] = Schema(
                    found["schema"], found.get("schemaType", "AVRO"), tuple(references.items())
                )
        known = self._schemas.get(schema_id)
        if known is None:
            raise UndecodableError(
                f"is of schema {schema_id}, which the schema registry does not have"
            )
        if known.kind != kind:
            raise UndecodableError(
                f"is of schema {schema_id}, which is {known.kind}, not {kind.capitalize()}"
            )
        return known

    def check(self) -> None:
        """Check that the registry answers; raises `RegistryError`."""
        self._get("/subjects")

    def _references(self, found: Any) -> Iterator[tuple[str, str]]:
        for each in found.get("references") or ():
            subject, version = quote(each["subject"], safe=""), each["version"]
            referred = self._get(f"/subjects/{subject}/versions/{version}")
            yield from self._references(referred)
            yield each["name"], referred["schema"]

    def _get(self, path: str) -> Any:
        """Return an answer; None for a schema that there is not."""
        where = self._connection
        request = urllib.request.Request(where.url.rstrip("/") + path)  # noqa: S310 - http or https
        if where.username:
            given = f"{where.username}:{where.password.get_secret_value()}"
            request.add_header("Authorization", f"Basic {b64encode(given.encode()).decode()}")
        context = None
        if where.url.startswith("https"):
            context = ssl.create_default_context(cafile=where.ca_file)
        try:
            with urllib.request.urlopen(  # noqa: S310
                request, timeout=_TIMEOUT_SECONDS, context=context
            ) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as error:
            with error:
                if error.code == HTTPStatus.NOT_FOUND and path.startswith("/schemas/"):
                    return None
                raise RegistryError(
                    f"the schema registry at {where.url} answers {path} with {error.code}"
                ) from None
        except (OSError, ValueError, HTTPException) as error:
            raise RegistryError(
                f"the schema registry at {where.url} cannot be reached: {error}"
            ) from None


def split_prefix(data: bytes) -> tuple[int, memoryview]:
    """Split a value into its schema's id and the rest; raises `UndecodableError` without one."""
    if len(data) < PREFIX_BYTES or data[0] != 0:
        raise UndecodableError(
            "has no schema registry prefix (a zero byte and a schema id of four bytes)"
        )
    return int.from_bytes(data[1:PREFIX_BYTES], "big"), memoryview(data)[PREFIX_BYTES:]
