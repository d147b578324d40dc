"""How far a partition is: written with every commit, compared before every commit."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields

NO_NONCE = ""

SETTLED, FROM_THE_STORE, FROM_NOTHING = 0, 1, 2
"""What `Checkpoint.recovering` says: whether a recovery is under way, and what it started from."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The progress of one partition.

    Attributes
    ----------
    version
        Rises by one with every commit; the version of every change that the commit makes.
    nonce
        16 hex digits drawn by the owner when it took the partition over.
    seen
        ``nonce:version`` metadata that Kafka's offsets carried at the takeover ("" none).
    purchases, profiles, erasures
        Next offset of each input topic.
    topics
        Which topics these were; "" where Kafka gives them no ids.
    replayed
        Purchases below this offset were folded from the log by a recovery from nothing: what was
        refused of them then was refused under the settings of then.
    remembered
        Valid purchases whose ids went to the ring, ever.
    clock_us
        The partition's clock in microseconds; never goes back.
    generation
        Highest model generation that records were scored under (0 none).
    swept_generation, swept_tile
        The generation and clock tile that every record has been scored under at least.
    proposed_generation
        Partition 0: number of the last generation it put in its outbox (0 none).
    recovering, rescore
        A recovery is under way; every customer is to be scored once more after one.
    """

    version: int = 0
    nonce: str = NO_NONCE
    seen: str = ""
    purchases: int = 0
    profiles: int = 0
    erasures: int = 0
    topics: str = ""
    replayed: int = 0
    remembered: int = 0
    clock_us: int = 0
    generation: int = 0
    swept_generation: int = 0
    swept_tile: int = 0
    proposed_generation: int = 0
    recovering: int = SETTLED
    rescore: int = 0

    @property
    def settled_generation(self) -> int:
        """The generation that all records are in, 0 while they are in several."""
        return self.swept_generation if self.swept_generation == self.generation else 0

    @property
    def metadata(self) -> str:
        """The metadata that goes with every committed offset."""
        return self.metadata_of(self.version)

    def metadata_of(self, version: int) -> str:
        """Metadata of the offsets of a version that this owner publishes: made by it or before."""
        return f"{self.nonce}:{version}"

    @property
    def offsets(self) -> tuple[int, int, int]:
        """Next offsets, in the order of ``livesegments.contracts.topics.INPUTS``."""
        return (self.purchases, self.profiles, self.erasures)

    def to_fields(self) -> list[str | int]:
        """Return alternating field names and values for HSET."""
        return [part for item in asdict(self).items() for part in item]

    @classmethod
    def from_fields(cls, stored: Mapping[bytes, bytes]) -> "Checkpoint":
        """Return the progress of a Redis hash; a field it lacks takes its default."""
        values: dict[str, str | int] = {}
        for field in fields(cls):
            raw = stored.get(field.name.encode())
            if raw is not None:
                values[field.name] = raw.decode() if field.type is str else int(raw)
        return cls(**values)  # type: ignore[arg-type]
