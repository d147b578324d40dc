"""Erasure markers, which keep erased events from being counted if they arrive late.

A request acts on event time, in whole tiles: data in its tile or earlier is deleted and never
counts again. Since the cutoff only moves forward, any interleaving with purchases produces the same
record.
"""

import hashlib
import struct
from dataclasses import dataclass
from enum import IntEnum

from livesegments.features.window import Tiling

_STORED = struct.Struct("<qqq")


class Action(IntEnum):
    """Action of a request."""

    ERASE = 0
    SUPPRESS = 1
    RESTORE = 2


@dataclass(frozen=True, slots=True)
class Marker:
    """Combined state of a customer's requests; times in microseconds, 0 for none.

    Attributes
    ----------
    cutoff_us
        First microsecond that counts.
    suppressed_at, restored_at
        Latest request of each kind.
    """

    cutoff_us: int = 0
    suppressed_at: int = 0
    restored_at: int = 0

    @property
    def suppressed(self) -> bool:
        """True if the customer must not be profiled until a later ``restore``."""
        return self.suppressed_at > self.restored_at

    def after(self, action: Action, requested_at: int, layout: Tiling) -> "Marker":
        """Return the marker with one more request applied.

        Every request except a ``restore`` moves the cutoff to the end of its tile. A ``restore``
        does so only if it ends a suppression: events from the suppressed period stay ignored.

        Examples
        --------
        >>> day = 86_400_000_000
        >>> marker = Marker().after(Action.ERASE, 10 * day, Tiling(90, 30))
        >>> marker.cutoff_us // day, marker.suppressed
        (12, False)
        """
        ends_suppression = self.suppressed and requested_at >= self.suppressed_at
        cuts = action is not Action.RESTORE or ends_suppression
        cutoff = layout.end(layout.tile(requested_at)) if cuts else 0
        suppressed_at = requested_at if action is Action.SUPPRESS else 0
        restored_at = requested_at if action is Action.RESTORE else 0
        # For requests with the same time, the last one wins.
        undone = action is Action.SUPPRESS and requested_at == self.restored_at
        return Marker(
            cutoff_us=max(self.cutoff_us, cutoff),
            suppressed_at=max(self.suppressed_at, suppressed_at),
            restored_at=max(self.restored_at - undone, restored_at),
        )

    def to_bytes(self) -> bytes:
        """Serialize to the stored bytes."""
        return _STORED.pack(self.cutoff_us, self.suppressed_at, self.restored_at)

    @classmethod
    def from_bytes(cls, data: bytes | None) -> "Marker":
        """Inverse of `to_bytes`; None gives an empty marker."""
        return cls(*_STORED.unpack(data)) if data else cls()


def marker_key(customer_id: str, secret: str) -> bytes:
    """Return the keyed hash (16 bytes) under which a customer's marker is stored."""
    key = secret.encode()[: hashlib.blake2b.MAX_KEY_SIZE]
    return hashlib.blake2b(customer_id.encode(), digest_size=16, key=key).digest()
