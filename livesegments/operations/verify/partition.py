"""The state of one partition to compare, and the offsets and versions up to which it is known."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import inf

from livesegments.contracts.topics import INPUTS
from livesegments.operations.verify.reading import Committed, Records
from livesegments.operations.verify.reference import DAY_US, Inputs
from livesegments.operations.verify.store_reader import Shape, features_of

RECORD_FORMAT = "2"


@dataclass(frozen=True, slots=True)
class Deployed:
    """Settings fixed when the deployment's first worker ran, plus others that may be known.

    ``retention_days`` and ``event_clock`` are None if unknown.
    """

    group_id: str
    partitions: int
    shape: Shape
    tile_us: int
    currency: str
    dedup_events: int
    consent_required: bool
    segments: Sequence[str]
    features: Sequence[str]
    partitioner: str
    retention_days: int | None
    event_clock: bool | None

    @classmethod
    def of(
        cls,
        found: Mapping[bytes, bytes],
        group_id: str,
        retention_days: int | None,
        event_clock: bool | None,
    ) -> "Deployed":
        """Return the settings in the fields of the store.

        Raises `RuntimeError` if no worker has run in the group yet, or one of an earlier version.
        """
        if not found:
            raise RuntimeError(
                f"group {group_id!r} has nothing in the store: no worker has ever run"
            )
        text = {name.decode(): value.decode() for name, value in found.items()}
        if text.get("record_format") != RECORD_FORMAT:
            raise RuntimeError(
                f"the store of group {group_id!r} is from another version: use its verify, or stop"
                " all workers and rebuild the store: livesegments rebuild"
            )
        shape = Shape.of(found)
        return cls(
            group_id=group_id,
            partitions=int(text["partitions"]),
            shape=shape,
            tile_us=int(text["window_days"]) * DAY_US // shape.tiles,
            currency=text["currency"],
            dedup_events=int(text.get("dedup_events", 0)),
            consent_required=text.get("consent") == "required",
            segments=text["segments"].split(","),
            features=features_of(found),
            partitioner=text.get("partitioner", "murmur2"),
            retention_days=retention_days,
            event_clock=event_clock,
        )


@dataclass(frozen=True, slots=True)
class Partition:
    """One partition at a cut.

    Attributes
    ----------
    where
        Its name in fault messages.
    starts
        Topic -> first retained offset.
    committed
        The group's offsets, read after the records and before the outputs.
    published
        The version up to which all outputs were read.
    at_rest
        True if nothing was committed to the store or to Kafka during the read, and no output is
        known to be unpublished: then everything must match.
    latest_us
        Latest possible date of a record, by the clock of the store's server.
    """

    where: str
    deployed: Deployed
    records: Records
    inputs: Inputs
    starts: Mapping[str, int]
    committed: Committed
    published: float
    at_rest: bool
    latest_us: float = inf

    def names(self) -> list[str]:
        """Return all customers with a record or an event."""
        return sorted(set(self.records.found) | set(self.inputs.customers))

    def bound(self, name: str) -> float:
        """Return the version up to which outputs about a customer are compared."""
        return inf if self.at_rest else min(self.records.cut(name).version, self.published)

    def compares(self, name: str) -> bool:
        """Return whether all outputs for a customer's record were read."""
        return self.at_rest or self.records.cut(name).version <= self.published

    def decided(self, topic: str) -> int:
        """Return the input offset below which all outputs were published and read."""
        if self.at_rest:
            return self.records.last.offsets[topic]
        return self.committed.offsets[topic] if self.committed.version else 0

    def clock_us(self, name: str) -> int:
        """Return the partition's clock at the time a customer's record was read."""
        cut = self.records.cut(name)
        return max(cut.clock_us, self.inputs.clock_us(cut.offsets[INPUTS[0]]))
