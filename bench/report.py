"""A table of figures with the goal and whether it was met."""

from dataclasses import dataclass, field
from typing import Any


@dataclass(slots=True)
class Table:
    """The result of a bench."""

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
        """Add a note below the table."""
        self.notes.append(text)

    def goal(self, text: str, met: bool) -> None:
        """Add the goal and whether it was met."""
        self.notes.append(f"goal {text}: {'met' if met else 'NOT met'}")

    def lines(self) -> list[str]:
        """Render as text."""
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
        """Convert to JSON types."""
        return {
            "title": self.title,
            "rows": [dict(zip(self.columns, row, strict=True)) for row in self.rows],
            "notes": self.notes,
            **({"more": [table.to_dict() for table in self.more]} if self.more else {}),
        }
