"""Findings of the doctor."""

from dataclasses import dataclass
from typing import Literal

Status = Literal["ok", "warn", "fail"]


@dataclass(frozen=True, slots=True)
class Finding:
    """Result of one check; ``fix`` is the remedy unless the status is ok."""

    name: str
    status: Status
    detail: str
    fix: str = ""
