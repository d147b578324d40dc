"""Lines of the rows of a text file, which DuckDB does not tell."""

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from livesegments.ingest.file_formats import LONGEST_ROW, TextFormat, open_text


class LineNumbers:
    """Lines of the rows of a text file."""

    def __init__(self, path: Path, text: TextFormat) -> None:
        self._ends = [0]
        self._rows: list[int] = []
        self._read = self._records(path, text)

    def of_row(self, row: int) -> int:
        """Return the first line of a row that is read, from the ``row`` of `view`."""
        while len(self._rows) < row and self._advance():
            pass
        return self._rows[row - 1] if 0 < row <= len(self._rows) else row

    def of_record(self, record: int) -> int:
        """Return the first line of a record, from the number in one of DuckDB's messages."""
        while len(self._ends) < record and self._advance():
            pass
        return self._ends[record - 1] + 1 if record <= len(self._ends) else record

    def ends_with(self, record: int) -> bool:
        """Return whether a record is the last one."""
        while len(self._ends) <= record + 1 and self._advance():
            pass
        return len(self._ends) == record + 1

    def _advance(self) -> bool:
        found = next(self._read, None)
        if found is None:
            return False
        end, is_row = found
        if is_row:
            self._rows.append(self._ends[-1] + 1)
        self._ends.append(end)
        return True

    @staticmethod
    def _records(path: Path, text: TextFormat) -> Iterator[tuple[int, bool]]:
        """Yield the last line of each record, and whether it is a row."""
        csv.field_size_limit(LONGEST_ROW)
        quoting: Literal[0, 3] = csv.QUOTE_MINIMAL if text.is_table else csv.QUOTE_NONE
        with open_text(path) as file:
            reader = csv.reader(file, delimiter=text.delimiter, quoting=quoting, strict=True)
            while True:
                try:
                    cells = next(reader)
                    is_row = len(cells) == len(text.names) or not (cells or text.is_table)
                    "".join(cells).encode()
                except StopIteration:
                    return
                except (csv.Error, UnicodeEncodeError):
                    is_row = False
                yield reader.line_num, is_row
