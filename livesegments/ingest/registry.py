"""Client of a Schema Registry with Confluent's API: schemas by id, and their references."""

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

MAGIC = 0
PREFIX_BYTES = 5
"""A zero byte and the id of the schema in four bytes, in front of a value."""

_TIMEOUT_SECONDS = 10.0
_UNKNOWN_SECONDS = 10.0
"""How long an unknown id is not asked for again."""


class RegistryError(RuntimeError):
    """The registry does not answer or refuses the request, so the records have to wait."""


class UnknownSchemaError(LookupError):
    """The registry has no schema of this id."""


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
        self._unknown: dict[int, float] = {}
        """Id -> time of the request that did not find it."""

    def schema(self, schema_id: int) -> Schema:
        """Return a schema.

        Raises
        ------
        UnknownSchemaError
            If it does not exist.
        RegistryError
            If the registry does not answer.
        """
        if schema_id not in self._schemas:
            asked_at = self._unknown.get(schema_id)
            if asked_at is not None and time.monotonic() - asked_at < _UNKNOWN_SECONDS:
                raise UnknownSchemaError(schema_id)
            try:
                found = self._get(f"/schemas/ids/{schema_id}")
            except UnknownSchemaError:
                self._unknown[schema_id] = time.monotonic()
                raise
            references = dict(self._references(found))
            self._schemas[schema_id] = Schema(
                found["schema"], found.get("schemaType", "AVRO"), tuple(references.items())
            )
        return self._schemas[schema_id]

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
                    raise UnknownSchemaError(path) from None
                raise RegistryError(
                    f"the schema registry at {where.url} answers {path} with {error.code}"
                ) from None
        except (OSError, ValueError, HTTPException) as error:
            raise RegistryError(
                f"the schema registry at {where.url} cannot be reached: {error}"
            ) from None
