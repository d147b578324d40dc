"""The wire contract: topics, events, their validation, and the headers of records.

This package imports no other of the project. `events` (input) and `segments` (output) are the
contract; `decode` reads whole micro-batches: `validation` accepts or rejects the records, and
`dead_letters` describes the rejected ones. `asyncapi` writes the machine-readable contract from
these models.

The models are imported on first use: processes that need only the topics start without pydantic.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from livesegments.contracts.events import CustomerProfile, Erasure, Purchase
    from livesegments.contracts.segments import SegmentChange, SegmentDefinition, SegmentState

__all__ = [
    "CustomerProfile",
    "Erasure",
    "Purchase",
    "SegmentChange",
    "SegmentDefinition",
    "SegmentState",
]

_MODULES = {
    "CustomerProfile": "events",
    "Erasure": "events",
    "Purchase": "events",
    "SegmentChange": "segments",
    "SegmentDefinition": "segments",
    "SegmentState": "segments",
}


def __getattr__(name: str) -> Any:
    """Import a model on first use."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
