"""What is remembered of erasure requests, so that erased events stay erased whenever they arrive.

A request acts by event time, in whole tiles: what lies in its tile or before goes and never counts
again. Since the cutoff only moves forward, any interleaving with purchases gives the same record.
"""

import hashlib
import struct
from dataclasses import dataclass
from enum import IntEnum

from livesegments.features.tiling import Tiling

_STORED = struct.Struct("<qqq")


class Action(IntEnum):
    """What a request asks for."""

    ERASE = 0
    SUPPRESS = 1
    RESTORE = 2


@dataclass(frozen=True, slots=True)
class Marker:
    """What a customer's requests add up to; times in microseconds, 0 for none.

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
        """Whether the customer must not be profiled until a later ``restore``."""
        return self.suppressed_at > self.restored_at

    def after(self, action: Action, requested_at: int, layout: Tiling) -> "Marker":
        """Return the marker with one more request.

        Every request but a ``restore`` moves the cutoff to the end of its tile. A ``restore`` does
        so only when it ends a suppression: what came while that held stays ignored.

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
        # Of requests of one time the last one holds.
        undone = action is Action.SUPPRESS and requested_at == self.restored_at
        return Marker(
            cutoff_us=max(self.cutoff_us, cutoff),
            suppressed_at=max(self.suppressed_at, suppressed_at),
            restored_at=max(self.restored_at - undone, restored_at),
        )

    def to_bytes(self) -> bytes:
        """Return the marker's stored bytes."""
        return _STORED.pack(self.cutoff_us, self.suppressed_at, self.restored_at)

    @classmethod
    def from_bytes(cls, data: bytes | None) -> "Marker":
        """Return the marker of stored bytes; None gives one of no requests."""
        return cls(*_STORED.unpack(data)) if data else cls()


def marker_key(customer_id: str, secret: str) -> bytes:
    """Return the keyed hash under which a customer's marker is kept (16 bytes)."""
    key = secret.encode()[: hashlib.blake2b.MAX_KEY_SIZE]
    return hashlib.blake2b(customer_id.encode(), digest_size=16, key=key).digest()
