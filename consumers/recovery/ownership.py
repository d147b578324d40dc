"""How to take a partition over: the rules of docs/architecture.md as a pure decision.

The store and Kafka each hold a piece of the truth. The store has the progress of the partition;
Kafka has the group's committed offsets, with the ``nonce:version`` of the commit they belong to as
their metadata. Comparing the two tells whether the store is what Kafka's offsets descend from.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from livesegments.store.checkpoint import FROM_NOTHING, Checkpoint

_METADATA = re.compile(r"([0-9a-f]{16}):([0-9]{1,19})")


@dataclass(frozen=True, slots=True)
class Committed:
    """The group's offsets of one partition of the inputs, with one metadata for all of them.

    A partition whose offsets are missing, or carry other metadata than ours, has none.
    """

    offsets: tuple[int, int, int]
    nonce: str
    version: int

    @property
    def metadata(self) -> str:
        """The metadata as it was committed."""
        return f"{self.nonce}:{self.version}"

    @classmethod
    def of(cls, offsets: Sequence[tuple[int, str | None] | None]) -> "Committed | None":
        """Return the committed offsets if they are valid.

        They are when every input topic has one and all carry the same metadata of ours. A broker
        that keeps no metadata gives None for it.
        """
        known = [offset for offset in offsets if offset is not None]
        if len(known) != 3 or len({metadata for _, metadata in known}) != 1:
            return None
        match = _METADATA.fullmatch(known[0][1] or "")
        if match is None:
            return None
        purchases, profiles, erasures = (offset for offset, _ in known)
        return cls((purchases, profiles, erasures), match[1], int(match[2]))


class Verdict(StrEnum):
    """What a takeover has to do."""

    FRESH = "fresh"
    """Nobody has worked here yet: start at the log's start."""
    CURRENT = "current"
    """The store is right: publish what Kafka does not have, and go on."""
    RECOVER = "recover"
    """The store is behind or beside what Kafka has published: rebuild it from Kafka."""


@dataclass(frozen=True, slots=True)
class Extent:
    """What Kafka has of a partition's inputs; to be asked for after the progress was read.

    Attributes
    ----------
    start, end
        First offset that each input topic still holds, and where it ends.
    topics
        Which topics they are; "" where Kafka gives them no ids.
    """

    start: tuple[int, int, int]
    end: tuple[int, int, int]
    topics: str

    def is_of(self, progress: Checkpoint) -> bool:
        """Return whether they are the topics that were folded, not others of their names."""
        return not self.topics or progress.topics in ("", self.topics)

    def within(self, offsets: tuple[int, int, int]) -> tuple[int, int, int]:
        """Return the nearest offsets that the logs have."""
        purchases, profiles, erasures = (
            min(max(offset, start), max(start, end))
            for offset, start, end in zip(offsets, self.start, self.end, strict=True)
        )
        return purchases, profiles, erasures


def is_lost(progress: Checkpoint | None, inputs: Extent) -> bool:
    """Return whether a store has nothing that a recovery could begin with.

    One that was interrupted, or refused, has folded a part: it starts from nothing again.
    """
    return progress is None or not inputs.is_of(progress) or progress.recovering == FROM_NOTHING


def verdict(
    progress: Checkpoint | None,
    committed: Committed | None,
    inputs: Extent,
    outputs_empty: bool,
) -> Verdict:
    """Decide how to take a partition over.

    Parameters
    ----------
    progress
        What the store has; read before the others.
    committed
        What Kafka has; None when missing or not ours.
    inputs
        What there is to fold.
    outputs_empty
        Whether nothing was ever published for the partition.
    """
    if progress is None:
        return Verdict.FRESH if committed is None and outputs_empty else Verdict.RECOVER
    if progress.recovering or committed is None:
        return Verdict.RECOVER
    if not inputs.is_of(progress):
        return Verdict.RECOVER
    own_line = committed.nonce == progress.nonce and committed.version <= progress.version
    if own_line or committed.metadata == progress.seen:
        return Verdict.CURRENT
    return Verdict.RECOVER


def taken_over(
    progress: Checkpoint | None,
    committed: Committed | None,
    inputs: Extent,
    nonce: str,
) -> Checkpoint:
    """Return the progress of the takeover commit: a fresh nonce, a version above all published.

    Its offsets are those that the logs have.
    """
    progress = progress or Checkpoint()
    purchases, profiles, erasures = inputs.within(progress.offsets)
    published = committed.version if committed else 0
    return replace(
        progress,
        version=max(progress.version, published) + 1,
        nonce=nonce,
        seen=committed.metadata if committed else "",
        purchases=purchases,
        profiles=profiles,
        erasures=erasures,
        topics=inputs.topics,
    )
