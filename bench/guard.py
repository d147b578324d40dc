"""Compares bench results with the figures committed in ``expected.json``.

It only warns: a machine can be slow for many reasons, so a person has to judge.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Literal

from bench.report import Table

EXPECTED = Path(__file__).with_name("expected.json")


@dataclass(frozen=True, slots=True)
class Figure:
    """A cell of a bench's table, named by its row and column, with its tolerance."""

    bench: str
    row: str
    column: str
    better: Literal["higher", "lower"]
    tolerance: float
    """Relative to the value."""
    value: float | None = None
    """None until recorded."""

    def found(self, table: Table) -> float | None:
        """Return the figure in its bench's table, or None when it is missing."""
        if self.column not in table.columns:
            return None
        at = table.columns.index(self.column)
        cell = next((row[at] for row in table.rows if row[0] == self.row), "")
        try:
            return float(cell.replace(",", "").rstrip("%"))
        except ValueError:
            return None

    def verdict(self, found: float | None) -> str:
        """Return a one-line verdict; a warning begins with WARNING."""
        name = f"{self.bench}: {self.row}, {self.column}"
        if found is None:
            return f"WARNING {name}: the bench prints no such figure"
        if self.value is None:
            return f"WARNING {name}: {found:g}, nothing recorded to compare with"
        beyond = self.value * self.tolerance
        worse, better = self.value - found, found - self.value
        if self.better == "lower":
            worse, better = better, worse
        limit = f"{found:g}, expected {self.value:g} within {self.tolerance:.0%}"
        if worse > beyond:
            return f"WARNING {name}: {limit}, {self.better} is better"
        return f"{name}: {limit}" + (" (better: record it?)" if better > beyond else "")


def load(path: Path = EXPECTED) -> list[Figure]:
    """Return the committed figures."""
    return [Figure(**each) for each in json.loads(path.read_text())]


def compare(bench: str, table: Table, figures: Sequence[Figure]) -> list[str]:
    """Return a line for each figure of a bench."""
    return [each.verdict(each.found(table)) for each in figures if each.bench == bench]


def record(
    bench: str, table: Table, figures: Sequence[Figure], path: Path = EXPECTED
) -> list[Figure]:
    """Store a bench's current figures, write the file, and return all figures.

    A figure that the bench does not print keeps its value.
    """
    now = [
        replace(each, value=found)
        if each.bench == bench and (found := each.found(table)) is not None
        else each
        for each in figures
    ]
    lines = [json.dumps(asdict(each)) for each in now]
    path.write_text("[\n  " + ",\n  ".join(lines) + "\n]\n")
    return now
