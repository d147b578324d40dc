"""Planned and injected faults of a soak."""

import random
from dataclasses import asdict, dataclass, field


@dataclass(frozen=True, slots=True)
class Plan:
    """Number of faults of each kind, and of faults between two verifications."""

    kills: int = 200
    publisher_kills: int = 10
    stops: int = 20
    rollbacks: int = 5
    emptyings: int = 5
    broker_kills: int = 3
    verify_every: int = 40

    def drawn(self, rng: random.Random) -> list[str]:
        """Return all faults in random order."""
        counts = {name: n for name, n in asdict(self).items() if name != "verify_every"}
        return rng.sample(list(counts), counts=list(counts.values()), k=sum(counts.values()))


@dataclass(slots=True)
class Tally:
    """Faults injected, and their outcomes."""

    seed: int
    seconds: float = 0.0
    kills: int = 0
    kills_of_owners: int = 0
    """Kills of workers that owned partitions; the others died before their takeover."""
    publisher_kills: int = 0
    """Kills of a worker's publisher process alone."""
    stops: int = 0
    stops_past_session: int = 0
    rollbacks: int = 0
    emptyings: int = 0
    broker_kills: int = 0
    takeovers: int = 0
    recoveries: int = 0
    events: int = 0
    repeats: int = 0
    changes: int = 0
    dead_letters: int = 0
    verifications: int = 0
    faults: list[str] = field(default_factory=list)

    def line(self) -> str:
        """Return a line of progress."""
        return (
            f"{self.seconds:5.0f} s: {self.kills} kills, {self.publisher_kills} of publishers,"
            f" {self.stops} stops, {self.rollbacks}"
            f" rollbacks, {self.emptyings} emptyings, {self.broker_kills} broker kills;"
            f" {self.events:,} events, {self.verifications} verifications,"
            f" {len(self.faults)} faults"
        )

    def lines(self) -> list[str]:
        """Render as text."""
        verdict = (
            f"{len(self.faults)} FAULTS"
            if self.faults
            else "0 lost, 0 doubled, every chain unbroken, statistics equal a recount"
        )
        return [
            f"{self.kills} kills of workers ({self.kills_of_owners} in the middle of their work),"
            f" {self.publisher_kills} of their publishers alone,",
            f"{self.stops} stops ({self.stops_past_session} past the session),",
            f"{self.rollbacks} times the store fell seconds back and {self.emptyings} times it was"
            f" emptied, {self.broker_kills} kills of the broker,",
            f"{self.takeovers:,} takeovers, {self.recoveries:,} of them recoveries, in"
            f" {self.seconds / 60:.0f} minutes (seed {self.seed}):",
            f"{self.events:,} events ({self.repeats:,} sent twice) -> {self.changes:,} changes,"
            f" {self.dead_letters:,} dead letters; {self.verifications} verifications: {verdict}",
            *(f"  - {fault}" for fault in self.faults[:20]),
        ]
