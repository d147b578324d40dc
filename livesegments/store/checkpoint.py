"""Checkpoint of a partition: written with every commit and compared before every commit."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import NamedTuple

NO_NONCE = ""

SETTLED, FROM_THE_STORE, FROM_NOTHING = 0, 1, 2
"""Values of `Checkpoint.recovering`: whether a recovery is running, and its start."""
AFTER_RECOVERY, AFTER_ERASURE = 1, 2
"""Values of `Checkpoint.rescore` while a sweep over all customers is due, and after what."""


class Offsets(NamedTuple):
    """An offset of each input, in the order of ``livesegments.contracts.topics.INPUTS``."""

    purchases: int
    profiles: int
    erasures: int


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """Progress of one partition.

    Attributes
    ----------
    version
        Incremented by every commit; the version of every change in that commit.
    nonce
        16 hex digits, drawn by the owner when it took ownership of the partition.
    seen
        ``nonce:version`` metadata of Kafka's offsets when ownership was taken ("" for none).
    purchases, profiles, erasures
        Next offset of each input topic.
    topics
        Ids of these topics; "" where Kafka assigns none.
    replayed, replayed_profiles, replayed_erasures
        Records of an input below this offset were replayed from the log by a recovery from an empty
        store. Those rejected were rejected under the settings in force at that time.
    remembered
        Total number of valid purchases whose ids were written to the ring.
    clock_us
        The partition's clock in microseconds; monotonic.
    generation
        Highest model generation that records were scored under (0 for none).
    swept_generation, swept_tile
        Lowest generation and clock tile under which every record has been scored.
    proposed_generation
        Partition 0 only: number of the last generation written to its outbox (0 for none).
    foreign
        Offset after the last state of another group that was read back (0 for none).
    recovering, rescore
        Whether a recovery is running; whether to score every customer again, and after what.
    """

    version: int = 0
    nonce: str = NO_NONCE
    seen: str = ""
    purchases: int = 0
    profiles: int = 0
    erasures: int = 0
    topics: str = ""
    replayed: int = 0
    replayed_profiles: int = 0
    replayed_erasures: int = 0
    remembered: int = 0
    clock_us: int = 0
    generation: int = 0
    swept_generation: int = 0
    swept_tile: int = 0
    proposed_generation: int = 0
    foreign: int = 0
    recovering: int = SETTLED
    rescore: int = 0

    @property
    def settled_generation(self) -> int:
        """The generation of all records; 0 while they are in several."""
        return self.swept_generation if self.swept_generation == self.generation else 0

    @property
    def metadata(self) -> str:
        """Metadata attached to every committed offset."""
        return self.metadata_of(self.version)

    def metadata_of(self, version: int) -> str:
        """Offset metadata for a version this owner publishes, its own or a predecessor's."""
        return f"{self.nonce}:{version}"

    @property
    def offsets(self) -> Offsets:
        """Next offset of each input."""
        return Offsets(self.purchases, self.profiles, self.erasures)

    def to_fields(self) -> list[str | int]:
        """Return alternating field names and values for HSET."""
        return [part for item in asdict(self).items() for part in item]

    @classmethod
    def from_fields(cls, stored: Mapping[bytes, bytes]) -> "Checkpoint":
        """Return the checkpoint stored in a Redis hash; missing fields take their defaults."""
        values: dict[str, str | int] = {}
        for field in fields(cls):
            raw = stored.get(field.name.encode())
            if raw is not None:
                values[field.name] = raw.decode() if field.type is str else int(raw)
        return cls(**values)  # type: ignore[arg-type]
