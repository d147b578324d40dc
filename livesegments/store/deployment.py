"""Settings shared by all workers of a deployment, fixed when the first worker starts."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Literal, Self

DEDUP_FORMAT = 2
"""Version of the fingerprints in the dedup ring; 1 held event ids only."""
RECORD_FORMAT = 2
"""Version of the customers' records; 1 lacked the place of the last change."""

_REBUILD = "Set it back, or stop all workers and rebuild the store from Kafka: livesegments rebuild"
_WAY_OUT = {
    "partitions": "Customers are in other partitions now. Copy the inputs by key to new topics,"
    " create the output topics again, and use another LIVESEGMENTS_GROUP_ID",
    "window_days": _REBUILD,
    "tiles": _REBUILD,
    "currency": _REBUILD,
    "dedup_events": _REBUILD,
    "topic_prefix": "Deployments with other topics have stores of their own: set it back, or use"
    " another LIVESEGMENTS_GROUP_ID",
    "consent": _REBUILD,
    "partitioner": _REBUILD,
    "clock": "Set it back (LIVESEGMENTS_CLOCK); to change event to wall, stop all workers first; to"
    " change wall to event, also rebuild the store from Kafka: livesegments rebuild",
    "dedup_format": "The store is from an earlier version, which counted other records. Stop all"
    " workers and rebuild the store from Kafka: livesegments rebuild",
    "record_format": "The store is from an earlier version, with other records. Stop all workers"
    " and rebuild the store from Kafka: livesegments rebuild",
    "features": f"LIVESEGMENTS_SEGMENTATION: {_REBUILD[0].lower()}{_REBUILD[1:]}",
    "segments": "Ids of segments never change (LIVESEGMENTS_SEGMENTATION): set them back, in that"
    " order; names, descriptions and positions may change. To add segments, stop all workers and"
    " rebuild the store from Kafka: livesegments rebuild. For other ids delete the output topics"
    " and use another LIVESEGMENTS_GROUP_ID",
}

_BEFORE = {
    "topic_prefix": "",
    "consent": "optional",
    "dedup_format": "1",
    "record_format": "1",
    "features": "purchases,spend,age,income,urbanicity",
}
"""Settings of a store whose release did not have them, unless any value would do."""


class StoreMismatchError(RuntimeError):
    """The store was written by a deployment with different settings."""


class UnknownSegmentError(RuntimeError):
    """Published segment that is not configured in this deployment."""

    @classmethod
    def check(cls, published: Iterable[str], known: Sequence[str]) -> None:
        """Raise for the first segment that is not known."""
        for segment in published:
            if segment not in known:
                raise cls(segment, known)

    def __init__(self, segment: str, known: Sequence[str]) -> None:
        super().__init__(
            f"segment {segment!r} is published already, and the segments here are"
            f" {', '.join(known)}: ids never change. Set them back (LIVESEGMENTS_SEGMENTATION);"
            " names, descriptions and positions may change. For other segments delete the output"
            " topics (customer-segments.v1, segment-changes.v1, segment-definitions.v1) and use"
            " another LIVESEGMENTS_GROUP_ID"
        )


@dataclass(frozen=True, slots=True)
class Deployment:
    """Settings that records and outputs depend on; the first worker fixes them."""

    partitions: int
    window_days: int
    tiles: int
    currency: str
    dedup_events: int
    segments: tuple[str, ...]
    """Segment ids, in the order used by the indices in records."""
    features: tuple[str, ...]
    """Features of the vector, in its order."""
    topic_prefix: str = ""
    """Prefix of the topics that the records come from."""
    consent: str = "optional"
    """Whether profiles must have both consents: ``optional`` or ``required``."""
    partitioner: Literal["murmur2", "crc32"] = "murmur2"
    """Hash by which producers choose a customer's partition."""
    clock: str = "wall"
    """Clock that windows end at: ``wall`` or ``event``."""
    dedup_format: int = DEDUP_FORMAT
    """Format of the fingerprints in the dedup ring."""
    record_format: int = RECORD_FORMAT
    """Format of the customers' records."""

    def to_fields(self) -> dict[str, str]:
        """Return the fields of a Redis hash."""
        return {
            **{name: str(value) for name, value in asdict(self).items()},
            "segments": ",".join(self.segments),
            "features": ",".join(self.features),
        }

    @classmethod
    def from_fields(cls, fields: Mapping[bytes, bytes]) -> Self:
        """Return the deployment stored in a Redis hash."""
        stored = {name.decode(): value.decode() for name, value in fields.items()}
        return cls(
            partitions=int(stored["partitions"]),
            window_days=int(stored["window_days"]),
            tiles=int(stored["tiles"]),
            currency=stored["currency"],
            dedup_events=int(stored.get("dedup_events", 0)),
            segments=tuple(stored["segments"].split(",")),
            features=tuple(stored.get("features", _BEFORE["features"]).split(",")),
            topic_prefix=stored.get("topic_prefix", ""),
            consent=stored.get("consent", "optional"),
            partitioner="crc32" if stored.get("partitioner") == "crc32" else "murmur2",
            clock=stored.get("clock", "wall"),
            dedup_format=int(stored.get("dedup_format", 1)),
            record_format=int(stored.get("record_format", 1)),
        )

    def check_assigned(self, partitions: Sequence[int]) -> None:
        """Raise a `StoreMismatchError` if a partition was added while the worker was running."""
        if (newest := max(partitions, default=0)) >= self.partitions:
            raise StoreMismatchError(
                f"partition {newest} was assigned, and the topics had {self.partitions} partitions"
                f" when the worker started. {_WAY_OUT['partitions']}"
            )

    def check(self, fields: Mapping[bytes, bytes], group_id: str) -> None:
        """Compare the settings with those in a group's store, which may be of an older release.

        Raises
        ------
        StoreMismatchError
            If a setting differs; the message names it and the possible remedies.
        """
        for name, value in self.to_fields().items():
            before = _BEFORE.get(name, value)
            stored = fields.get(name.encode(), before.encode()).decode()
            if stored != value:
                raise StoreMismatchError(
                    f"{name} is {value or 'empty'} here and {stored or 'empty'} in the store of"
                    f" group {group_id!r}: records cannot be carried over. {_WAY_OUT[name]}"
                )
