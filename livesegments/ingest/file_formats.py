"""Files as DuckDB reads them: the view `source` of each format, and why rows are broken."""

import codecs
import csv
import gzip
import re
import zlib
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from io import TextIOWrapper
from pathlib import Path
from typing import BinaryIO, TextIO, cast
from zipfile import BadZipFile

import duckdb
import zstandard

from livesegments.extras import require

LONGEST_ROW = 1_048_576
"""Most bytes of a row of a text file; no valid record is as large."""

BADLY_QUOTED = "is badly quoted; is a quote left open or not doubled?"

_TEXT = (".csv", ".tsv", ".txt")
_LINES = (".jsonl", ".ndjson")
_EXCEL = ".xlsx"
_COMPRESSED = (".gz", ".zst")
SUFFIXES = (*_TEXT, *_LINES, ".json", ".parquet", _EXCEL)

_NO_QUOTE = "\x01"
"""Delimiter of whole lines of text; not in JSON and hardly in any other text."""

_BLANK_CELLS = ' ",;\t|\r\n'
_NO_CELL = (None, "#N/A", "#NULL!", "#DIV/0!", "#VALUE!", "#REF!", "#NAME?", "#NUM!")
"""Values of Excel's empty cells and of those whose formula failed."""


class FileError(ValueError):
    """File that cannot be read as a whole; the message names it and the remedy."""


@dataclass(frozen=True, slots=True)
class FileOptions:
    """Options for reading a file.

    Attributes
    ----------
    sql
        SELECT statement on `source`, which is the file; empty for a file of the contract's shape.
    tables
        Name -> file of other tables that it joins.
    delimiter
        Of a text file; by default that of its first line. ``none`` reads whole lines.
    encoding
        Of a text file, as Python names it; by default utf-16 if its mark is there, else utf-8.
    decimal
        Decimal separator of the numbers of a file of the contract's shape.
    date_format
        Of its times, as for DuckDB's strptime.
    """

    sql: str = ""
    tables: Mapping[str, Path] = field(default_factory=dict)
    delimiter: str = ""
    encoding: str = ""
    decimal: str = "."
    date_format: str = ""


@dataclass(frozen=True, slots=True)
class TextFormat:
    """Dialect of a text file in UTF-8: its columns and delimiter.

    A file of whole lines, without header and quotes, is no table and has one column, ``line``.
    """

    names: tuple[str, ...]
    delimiter: str
    is_table: bool

    def scan(self, path: Path, *, skip: bool = False) -> str:
        """Return the SQL that reads a file; with ``skip``, broken rows go to a table of rejects."""
        columns = ", ".join(f"{literal(name)}: 'VARCHAR'" for name in self.names)
        quote = "'\"'" if self.is_table else "''"
        options = [
            f"columns = {{{columns}}}",
            f"delim = {literal(self.delimiter)}",
            f"quote = {quote}",
            f"escape = {quote}",
            f"header = {self.is_table}",
            f"max_line_size = {LONGEST_ROW}",
            # A line may end in other ways than the one before it, if that is all there is to it.
            f"strict_mode = {self.is_table}",
            "auto_detect = false",
        ]
        if skip:
            options += ["store_rejects = true", "rejects_line_size_limit = 100"]
        return f"read_csv({literal(str(path))}, {', '.join(options)})"


def view(path: Path, options: FileOptions, *, skip: bool = False) -> tuple[str, TextFormat | None]:
    """Return the SQL of a file's view, and the dialect of a text file.

    The view has the file's columns or documents, and ``row``, the number of each. With ``skip``,
    rows of a text file that have no sound shape are left out, for `rejects`.

    Raises `FileError` if the suffix is not known, or the first line of a text file cannot be read.
    """
    suffix, file = _suffix(path), literal(str(path))
    lines = TextFormat(("line",), _NO_QUOTE, is_table=False)
    if suffix in _LINES:
        return (
            'SELECT "row", TRY_CAST(line AS JSON) AS value FROM (SELECT row_number() OVER ()'
            f" AS \"row\", line FROM {lines.scan(path, skip=skip)}) WHERE trim(line) <> ''",
            lines,
        )
    if suffix in _TEXT and options.delimiter == "none":
        scan = lines.scan(path, skip=skip)
        return f'SELECT row_number() OVER () AS "row", * FROM {scan}', lines
    if suffix in _TEXT:
        dialect = _dialect(path, options.delimiter)
        scan = dialect.scan(path, skip=skip)
        return f'SELECT row_number() OVER () + 1 AS "row", * FROM {scan}', dialect
    if suffix == ".json":
        return (
            'SELECT row_number() OVER () AS "row", json AS value'
            f" FROM read_json_objects({file}, format = 'auto')",
            None,
        )
    if suffix == ".parquet":
        return (
            'SELECT file_row_number + 1 AS "row", * EXCLUDE (file_row_number) FROM'
            f" read_parquet({file}, file_row_number = true, binary_as_string = true)",
            None,
        )
    raise FileError(
        f"{path}: the name must end in one of {', '.join(SUFFIXES)}, or in .gz or .zst after it"
    )


def _dialect(path: Path, delimiter: str) -> TextFormat:
    with open_text(path) as file:
        header = file.readline(LONGEST_ROW + 1)
    why = explained("Maximum line size") if len(header) > LONGEST_ROW else ""
    try:
        header.encode()
    except UnicodeEncodeError:
        why = explained("unicode")
    if not header.strip(_BLANK_CELLS):
        why = "is empty; it must name the columns"
    if why:
        raise FileError(f"{path}, line 1: {why}")
    delimiter = delimiter or max(",;\t|", key=header.count)
    names: list[str] = []
    taken: set[str] = set()
    for at, cell in enumerate(next(csv.reader([header], delimiter=delimiter), [])):
        name = stem = cell.strip() or f"column{at}"
        copies = 0
        while name.lower() in taken:
            copies += 1
            name = f"{stem}_{copies}"
        taken.add(name.lower())
        names.append(name)
    return TextFormat(tuple(names), delimiter, is_table=True)


def readable(path: Path, target: Path, encoding: str = "") -> Path:
    """Return a file that DuckDB reads, at a path without an ending: a link, or a copy if need be.

    Text is in UTF-8, and its lines end alike.

    Raises `FileError` if the file cannot be read.
    """
    try:
        if path.suffix.lower() == _EXCEL:
            return _excel_as_csv(path, target.with_suffix(".csv"))
        if _suffix(path) in (*_TEXT, *_LINES):
            encoding = encoding or ("utf-16" if _is_utf16(path) else "utf-8")
            if _has_mixed_line_ends(path) or codecs.lookup(encoding).name != "utf-8":
                copy = target.with_suffix(_suffix(path))
                with (
                    open_text(path, encoding, newline=None) as source,
                    # Bytes that are not of the encoding are written as they were.
                    copy.open(
                        "w", encoding="utf-8", errors="surrogateescape", newline="\n"
                    ) as file,
                ):
                    while block := source.read(LONGEST_ROW):
                        file.write(block)
                return copy
    except LookupError:
        raise FileError(
            f"--encoding {encoding}: is not known; use utf-8, latin-1, cp1252 or utf-16"
        ) from None
    except UnicodeError as error:
        raise FileError(f"{path}: is not {encoding}: {error}") from None
    except (OSError, EOFError, zlib.error, zstandard.ZstdError) as error:
        raise FileError(f"{path}: cannot be read: {error}") from error
    # A name may contain any bytes, and what DuckDB would take for a pattern.
    link = target.with_name(target.name + "".join(path.suffixes[-2:]).lower())
    link.symlink_to(path.resolve())
    return link


def _suffix(path: Path) -> str:
    suffixes = [each.lower() for each in path.suffixes if each.lower() not in _COMPRESSED]
    return suffixes[-1] if suffixes else ""


def _excel_as_csv(path: Path, target: Path) -> Path:
    """Write the first sheet as CSV; a row stays a line."""
    require("excel", f"{path}: Excel", "openpyxl")
    from openpyxl import load_workbook
    from openpyxl.utils.exceptions import InvalidFileException

    try:
        sheet = load_workbook(path, read_only=True, data_only=True).worksheets[0]
        with target.open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file)
            for row in sheet.iter_rows(values_only=True):
                writer.writerow(
                    ["" if cell in _NO_CELL else str(cell).replace("\n", " ") for cell in row]
                )
    except (InvalidFileException, BadZipFile, OSError, LookupError, ValueError) as error:
        raise FileError(f"{path}: no sound Excel file (.xlsx): {error}") from error
    return target


def open_text(path: Path, encoding: str = "utf-8", newline: str | None = "") -> TextIO:
    """Open a text file, which may be compressed; bytes that are not text become surrogates."""
    # The mark that some programs put in front of UTF-8 is no part of the text.
    name = "utf-8-sig" if encoding == "utf-8" else encoding
    return TextIOWrapper(_open_bytes(path), name, errors="surrogateescape", newline=newline)


def _is_utf16(path: Path) -> bool:
    with _open_bytes(path) as file:
        return file.read(2) in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


def _open_bytes(path: Path) -> BinaryIO:
    suffix = path.suffix.lower()
    if suffix == ".gz":
        return cast(BinaryIO, gzip.open(path))
    return cast(BinaryIO, zstandard.open(path)) if suffix == ".zst" else path.open("rb")


def _has_mixed_line_ends(path: Path) -> bool:
    """Return whether some lines end in other ways than others, which DuckDB cannot read.

    Raises `FileError` if the last line is longer than `LONGEST_ROW`: DuckDB may drop it, and says
    nothing.
    """
    feeds = returns = both = rest = 0
    with _open_bytes(path) as file:
        while block := file.read(LONGEST_ROW):
            if block.endswith(b"\r"):
                block += file.read(1)
            pairs = block.count(b"\r\n")
            both += pairs
            feeds += block.count(b"\n") - pairs
            returns += block.count(b"\r") - pairs
            end = max(block.rfind(b"\n"), block.rfind(b"\r"))
            rest = rest + len(block) if end < 0 else len(block) - end - 1
    if rest > LONGEST_ROW:
        raise FileError(f"{path}, last line: {explained('Maximum line size')}")
    return bool(feeds) + bool(returns) + bool(both) > 1


def rejects(connection: duckdb.DuckDBPyConnection) -> list[tuple[int, str]]:
    """Return the records that DuckDB skipped, and why: by their number, as in its messages."""
    with suppress(duckdb.CatalogException):  # there is no table where nothing was scanned
        found = connection.execute(
            "SELECT line, first(error_message) FROM reject_errors GROUP BY line ORDER BY line"
        )
        return [(line, explained(message)) for line, message in found.fetchall()]
    return []


def explained(message: str) -> str:
    """Say why a row is broken, in words that hold no value."""
    counts = re.search(r"^Expected Number of Columns: (\d+) Found: (\d+)", message, re.MULTILINE)
    if counts is not None:
        which = "fewer" if int(counts[2]) < int(counts[1]) else "more"
        return f"has {which} cells than the header, which has {counts[1]}"
    if "unicode" in message or "encoded" in message:
        return (
            "is not UTF-8; name the encoding of the file, as in --encoding cp1252, or save it as"
            " UTF-8 if it is a --table"
        )
    if "Maximum line size" in message:
        return (
            f"has more than {LONGEST_ROW:,} bytes; is a quote left open, or are line ends missing?"
        )
    return BADLY_QUOTED


def literal(text: str) -> str:
    """Return a text for SQL."""
    return "'" + text.replace("'", "''") + "'"
