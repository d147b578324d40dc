"""Dates and numbers as people write them."""

from datetime import date

UNKNOWN = "-"


def day(text: str) -> str:
    """Return an ISO date as people write it."""
    return f"{date.fromisoformat(text):%d %b %Y}".lstrip("0")


def percent(share: float | None, digits: int = 0) -> str:
    """Return a share in per cent, a dash where there is none."""
    return UNKNOWN if share is None or share != share else f"{share * 100:.{digits}f}%"


def number(value: float | None, digits: int = 0) -> str:
    """Return a number with thousands separated, a dash where there is none."""
    return UNKNOWN if value is None or value != value else f"{value:,.{digits}f}"
