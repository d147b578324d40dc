"""Definitions of sources, lookup tables and the schema registry, read from a TOML file."""

import tomllib
from collections import Counter
from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeAlias

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    model_validator,
)

Format: TypeAlias = Literal["json", "json-schema", "avro", "protobuf", "string"]
KeyFormat: TypeAlias = Literal["string", "json", "json-schema", "avro", "protobuf", "int64"]
Into: TypeAlias = Literal["purchases", "profiles", "erasures"]

TABLE_SUFFIXES = (".csv", ".tsv", ".json", ".jsonl", ".ndjson", ".parquet")
NEEDS_REGISTRY = ("avro", "protobuf")

_STRICT = ConfigDict(frozen=True, extra="forbid")


class SourcesError(ValueError):
    """The file of sources is unusable; the message names the file, the field and the reason."""


class Source(BaseModel):
    """A topic, the format of its records, and the query that makes events of them.

    Attributes
    ----------
    name
        Part of the consumer group's name; never change it, or the topic is read again.
    topic
        Full name of the topic to read.
    format, key_format
        Format of its values and keys.
    into
        The input that the query's rows belong to.
    query
        SQL, or the name of a file with it, relative to the file of sources.
    start
        Where to begin on first use, when the group has no committed offsets.
    """

    model_config = _STRICT

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,49}$")]
    topic: Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]{1,249}$")]
    format: Format = "json"
    key_format: KeyFormat = "string"
    into: Into
    query: Annotated[str, Field(min_length=1)]
    start: Literal["earliest", "latest"] = "earliest"


class Table(BaseModel):
    """A lookup table that queries may join; its file is read again when it changes."""

    model_config = _STRICT

    name: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,49}$")]
    file: Path


def _without_credentials(url: object) -> object:
    """Refuse a password in an address, before any message shows it."""
    if "@" in str(url):
        raise ValueError("holds a user or a password: write username and password_file instead")
    return url


class RegistryConnection(BaseModel):
    """A Schema Registry with Confluent's API, and the credentials for it."""

    model_config = _STRICT

    url: Annotated[str, BeforeValidator(_without_credentials), Field(pattern=r"^https?://")]
    username: str = ""
    password_file: Path | None = None
    ca_file: Path | None = None

    @property
    def password(self) -> SecretStr:
        """Contents of the password file, without its last newline."""
        text = self.password_file.read_text() if self.password_file else ""
        return SecretStr(text.removesuffix("\n"))


class Sources(BaseModel):
    """Contents of a file of sources; paths are absolute and queries are SQL."""

    model_config = _STRICT

    source: Annotated[list[Source], Field(min_length=1)]
    table: list[Table] = []
    schema_registry: RegistryConnection | None = None

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        for kind, names in (
            ("source", [each.name for each in self.source]),
            ("table", [each.name for each in self.table]),
        ):
            twice = [name for name, count in Counter(names).items() if count > 1]
            if twice:
                raise ValueError(
                    f"two of [[{kind}]] are named {twice[0]!r}: give each its own name"
                )
        for table in self.table:
            if table.name == "source":
                raise ValueError("[[table]] 'source': that is the topic, choose another name")
        for source in self.source:
            formats = {source.format, source.key_format}
            if formats.intersection(NEEDS_REGISTRY) and self.schema_registry is None:
                raise ValueError(
                    f"[[source]] {source.name!r} is {source.format}: add [schema_registry] with its"
                    ' url, such as "http://registry:8081"'
                )
        return self

    def named(self, names: Sequence[str]) -> list[Source]:
        """Return the sources of these names, in the order of the file; all without a name.

        Raises `SourcesError` if there is no source of a name.
        """
        known = [each.name for each in self.source]
        for name in names:
            if name not in known:
                raise SourcesError(f"no source {name!r}; there are {', '.join(known)}")
        return [each for each in self.source if not names or each.name in names]


def load(path: Path) -> Sources:
    """Read a file of sources, and the queries that it names.

    Raises `SourcesError` if the file, a query's file or a table's file is missing or invalid.
    """
    try:
        document = tomllib.loads(path.read_text())
    except OSError as error:
        raise SourcesError(f"{path}: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SourcesError(f"{path}: not TOML: {error}") from None
    try:
        sources = Sources.model_validate(document)
    except ValidationError as error:
        raise SourcesError(f"{path}: {_explained(error)}") from None
    folder = path.resolve().parent
    return sources.model_copy(
        update={
            "source": [
                each.model_copy(update={"query": _sql(path, folder, each)})
                for each in sources.source
            ],
            "table": [
                each.model_copy(update={"file": _table_file(path, folder, each)})
                for each in sources.table
            ],
            "schema_registry": _with_files(path, folder, sources.schema_registry),
        }
    )


def _sql(path: Path, folder: Path, source: Source) -> str:
    if any(space in source.query.strip() for space in " \n\t"):
        return source.query
    file = folder / source.query.strip()
    try:
        return file.read_text()
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise SourcesError(f"{path}: query of source {source.name!r}: {file}: {why}") from None


def _table_file(path: Path, folder: Path, table: Table) -> Path:
    file = folder / table.file
    where = f"{path}: file of table {table.name!r}: {file}"
    if not file.is_file():
        raise SourcesError(f"{where}: no such file")
    if file.suffix.lower() not in TABLE_SUFFIXES:
        raise SourcesError(f"{where}: must end with one of {', '.join(TABLE_SUFFIXES)}")
    return file


def _with_files(
    path: Path, folder: Path, registry: RegistryConnection | None
) -> RegistryConnection | None:
    if registry is None:
        return None
    files: dict[str, Path] = {}
    for name in ("password_file", "ca_file"):
        named = getattr(registry, name)
        if named is not None:
            files[name] = folder / named
            if not files[name].is_file():
                raise SourcesError(f"{path}: schema_registry.{name}: {files[name]}: no such file")
    return registry.model_copy(update=files)


def _explained(error: ValidationError) -> str:
    return "; ".join(map(_explained_fault, error.errors(include_url=False)))


def _explained_fault(fault: Any) -> str:
    section, *rest = fault["loc"] or ("",)
    fields = [each for each in rest if isinstance(each, str)]
    where = _where(section, [each + 1 for each in rest if isinstance(each, int)])
    match fault["type"]:
        case "missing":
            why = "is missing"
        case "extra_forbidden":
            known = _FIELDS.get(section if fields else "", ())
            close = get_close_matches((fields or [section])[-1], known, 1)
            why = f"no such field{f', did you mean {close[0]}?' if close else ''}"
        case "string_pattern_mismatch":
            why = f"{fault['input']!r} must be {_FORMS[section, fields[-1]]}"
        case "literal_error":
            why = f"{fault['input']!r} must be {fault['ctx']['expected']}"
        case "list_type":
            why = f"write [[{section}]], with two brackets: there may be several"
        case _:
            why = fault["msg"].removeprefix("Value error, ")
    return ": ".join(each for each in (where, ".".join(fields), why) if each)


def _where(section: str, numbers: Sequence[int]) -> str:
    if section in ("source", "table"):
        return " ".join([f"[[{section}]]", *map(str, numbers)])
    return f"[{section}]" if section == "schema_registry" else section


_FIELDS = {
    "": list(Sources.model_fields),
    "source": list(Source.model_fields),
    "table": list(Table.model_fields),
    "schema_registry": list(RegistryConnection.model_fields),
}
_FORMS = {
    ("source", "name"): "lower-case letters, digits, - and _, at most 50: shop-orders",
    ("source", "topic"): "the name of a topic: letters, digits, . - and _",
    ("table", "name"): "lower-case letters, digits and _, a letter first, at most 50: rates",
    ("schema_registry", "url"): "an address that begins with http:// or https://",
}
