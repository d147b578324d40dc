"""Takeover of a partition: the rules of docs/architecture.md as a pure decision.

The store has the partition's checkpoint; Kafka has the group's committed offsets, with the
``nonce:version`` of the matching commit as metadata. Comparing the two shows whether the store
includes the commit that Kafka's offsets come from.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from livesegments.store.checkpoint import FROM_NOTHING, Checkpoint, Offsets
from livesegments.store.partitions import PartitionSnapshot

_METADATA = re.compile(r"([0-9a-f]{16}):([0-9]{1,19})")


@dataclass(frozen=True, slots=True)
class Committed:
    """Committed offsets of one partition of the inputs, with one metadata for all of them.

    A missing offset, or metadata in another format, counts as no committed offsets.
    """

    offsets: Offsets
    nonce: str
    version: int

    @property
    def metadata(self) -> str:
        """The metadata as committed."""
        return f"{self.nonce}:{self.version}"

    @classmethod
    def of(cls, offsets: Sequence[tuple[int, str | None] | None]) -> "Committed | None":
        """Return the committed offsets if they are valid.

        They are valid if every input topic has one and all carry the same metadata in our format. A
        broker that keeps no metadata returns None for it.
        """
        known = [offset for offset in offsets if offset is not None]
        if len(known) != 3 or len({metadata for _, metadata in known}) != 1:
            return None
        match = _METADATA.fullmatch(known[0][1] or "")
        if match is None:
            return None
        return cls(Offsets(*(offset for offset, _ in known)), match[1], int(match[2]))


class Verdict(StrEnum):
    """Action of a takeover."""

    FRESH = "fresh"
    """No worker has processed this partition yet: start at the beginning of the log."""
    CURRENT = "current"
    """The store is valid: publish the outputs that Kafka lacks, and resume."""
    RECOVER = "recover"
    """The store is behind or has diverged from Kafka's outputs: rebuild it from Kafka."""


@dataclass(frozen=True, slots=True)
class Extent:
    """Offset ranges of a partition's inputs; to be requested after the checkpoint is read.

    Attributes
    ----------
    start, end
        First remaining offset and end offset of each input topic.
    topics
        Identity of the topics; "" if Kafka has no topic ids.
    """

    start: Offsets
    end: Offsets
    topics: str

    def is_of(self, checkpoint: Checkpoint) -> bool:
        """Return whether these are the processed topics, not recreated ones of the same names."""
        return not self.topics or checkpoint.topics in ("", self.topics)

    def within(self, offsets: Offsets) -> Offsets:
        """Return the nearest offsets that exist in the logs."""
        bounds = zip(offsets, self.start, self.end, strict=True)
        return Offsets(*(min(max(at, start), max(start, end)) for at, start, end in bounds))


@dataclass(frozen=True, slots=True)
class Takeover:
    """A partition as its new owner finds it.

    Attributes
    ----------
    stored
        Its state in the store.
    committed
        Kafka's committed offsets; None if missing or not ours.
    inputs
        Offset ranges of its inputs.
    nonce
        16 hex digits, drawn by the new owner.
    foreign
        Offset after the partition's last state if another group published it, else 0.
    """

    partition: int
    stored: PartitionSnapshot
    committed: Committed | None
    inputs: Extent
    nonce: str
    foreign: int


def is_lost(checkpoint: Checkpoint | None, inputs: Extent) -> bool:
    """Return whether a store has no usable base for a recovery.

    A recovery from nothing that was interrupted or refused has processed only part of the log, so
    it starts from nothing again.
    """
    return (
        checkpoint is None or not inputs.is_of(checkpoint) or checkpoint.recovering == FROM_NOTHING
    )


def verdict(
    checkpoint: Checkpoint | None,
    committed: Committed | None,
    inputs: Extent,
    outputs_empty: bool,
) -> Verdict:
    """Decide how to take a partition over.

    Parameters
    ----------
    checkpoint
        The store's checkpoint; read before the others.
    committed
        Kafka's committed offsets; None if missing or not ours.
    inputs
        Offset ranges of the inputs.
    outputs_empty
        Whether nothing was ever published for the partition.
    """
    if checkpoint is None:
        return Verdict.FRESH if committed is None and outputs_empty else Verdict.RECOVER
    if checkpoint.recovering or committed is None:
        return Verdict.RECOVER
    if not inputs.is_of(checkpoint):
        return Verdict.RECOVER
    return Verdict.CURRENT if is_current(checkpoint, committed) else Verdict.RECOVER


def is_current(checkpoint: Checkpoint, committed: Committed) -> bool:
    """Return whether what Kafka's offsets come from is included in the store."""
    own_line = committed.nonce == checkpoint.nonce and committed.version <= checkpoint.version
    return own_line or committed.metadata == checkpoint.seen


def taken_over(
    checkpoint: Checkpoint | None,
    committed: Committed | None,
    inputs: Extent,
    nonce: str,
) -> Checkpoint:
    """Return the checkpoint of the takeover commit: new nonce, version above all published.

    Its offsets are limited to those in the logs.
    """
    checkpoint = checkpoint or Checkpoint()
    published = committed.version if committed else 0
    return replace(
        checkpoint,
        version=max(checkpoint.version, published) + 1,
        nonce=nonce,
        seen=committed.metadata if committed else "",
        topics=inputs.topics,
        **inputs.within(checkpoint.offsets)._asdict(),
    )
