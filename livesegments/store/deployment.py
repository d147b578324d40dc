"""What every worker of a deployment must agree on, now and later."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Self

_REBUILD = (
    "Set it back, or stop all workers and make the store anew from Kafka: livesegments rebuild"
)
_WAY_OUT = {
    "partitions": "Customers are in other partitions now. Copy the inputs by key to topics made"
    " anew, make the outputs anew, and use another LIVESEGMENTS_GROUP_ID",
    "window_days": _REBUILD,
    "tiles": _REBUILD,
    "currency": _REBUILD,
    "dedup_events": _REBUILD,
    "segments": "Ids of segments never change: set them back (LIVESEGMENTS_PERSONAS_FILE), in that"
    " order; names, descriptions and positions may change. For other segments delete the output"
    " topics and use another LIVESEGMENTS_GROUP_ID",
}


class StoreMismatchError(RuntimeError):
    """The store was written by a deployment with other settings."""


@dataclass(frozen=True, slots=True)
class Deployment:
    """The settings that records and outputs rest on, so that they are fixed by the first worker."""

    partitions: int
    window_days: int
    tiles: int
    currency: str
    dedup_events: int
    segments: tuple[str, ...]
    """Ids, in the order in which records number them."""

    def to_fields(self) -> dict[str, str]:
        """Return it as the fields of a Redis hash."""
        return {
            **{name: str(value) for name, value in asdict(self).items()},
            "segments": ",".join(self.segments),
        }

    @classmethod
    def from_fields(cls, fields: Mapping[bytes, bytes]) -> Self:
        """Return the deployment that a Redis hash holds."""
        stored = {name.decode(): value.decode() for name, value in fields.items()}
        return cls(
            partitions=int(stored["partitions"]),
            window_days=int(stored["window_days"]),
            tiles=int(stored["tiles"]),
            currency=stored["currency"],
            dedup_events=int(stored.get("dedup_events", 0)),
            segments=tuple(stored["segments"].split(",")),
        )

    def check(self, fields: Mapping[bytes, bytes], group_id: str) -> None:
        """Hold it against what the store of a group has.

        Raises
        ------
        StoreMismatchError
            If one differs; says which, and the ways out.
        """
        for name, value in self.to_fields().items():
            stored = fields[name.encode()].decode()
            if stored != value:
                raise StoreMismatchError(
                    f"{name} is {value} here and {stored} in the store of group"
                    f" {group_id!r}: records cannot be carried over. {_WAY_OUT[name]}"
                )
