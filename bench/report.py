"""A table of figures, with the goal and whether it was met."""

from dataclasses import dataclass, field
from typing import Any


@dataclass(slots=True)
class Table:
    """What a bench prints."""

    title: str
    columns: tuple[str, ...]
    rows: list[tuple[str, ...]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    more: list["Table"] = field(default_factory=list)
    """Tables printed below this one."""

    def add(self, *cells: str) -> None:
        """Add a row."""
        self.rows.append(cells)

    def note(self, text: str) -> None:
        """Add a line below."""
        self.notes.append(text)

    def goal(self, text: str, met: bool) -> None:
        """Say what was to be reached, and whether it was."""
        self.notes.append(f"goal {text}: {'met' if met else 'NOT met'}")

    def lines(self) -> list[str]:
        """Return it for people."""
        table = [self.columns, *self.rows]
        widths = [max(len(row[i]) for row in table) for i in range(len(self.columns))]
        lines = [self.title]
        for row in table:
            cells = [row[0].ljust(widths[0])]
            cells += [cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True)]
            lines.append("  " + "  ".join(cells))
        lines += [f"  {note}" for note in self.notes]
        return lines + [line for table in self.more for line in table.lines()]

    def to_dict(self) -> dict[str, Any]:
        """Return it for JSON."""
        return {
            "title": self.title,
            "rows": [dict(zip(self.columns, row, strict=True)) for row in self.rows],
            "notes": self.notes,
            **({"more": [table.to_dict() for table in self.more]} if self.more else {}),
        }
