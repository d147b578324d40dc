"""Marks of the dead letters that were sent again, each written together with its record."""

from datetime import UTC, datetime
from typing import Annotated, NamedTuple

from pydantic import BaseModel, ConfigDict, Field

from livesegments.contracts.segments import UtcInstant


class Place(NamedTuple):
    """Position of a record of the dead-letter topic.

    The timestamp distinguishes it from an earlier record there, if the topic was recreated.
    """

    partition: int
    offset: int
    timestamp_ms: int


class DeadLetterReplay(BaseModel):
    """A dead letter was sent again to the topic that it came from."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    partition: Annotated[int, Field(ge=0, description="Of the dead letter")]
    offset: Annotated[int, Field(ge=0, description="Of the dead letter")]
    timestamp_ms: Annotated[int, Field(description="Of the dead letter, since the epoch")]
    topic: Annotated[str, Field(description="Where it came from and went again")]
    reason: Annotated[str, Field(description="Why it had been refused")]
    replayed_at: UtcInstant

    @property
    def place(self) -> Place:
        """Of the dead letter."""
        return Place(self.partition, self.offset, self.timestamp_ms)


def mark(place: Place, topic: str, reason: str, replayed_at: datetime) -> tuple[bytes, bytes]:
    """Return key and value of the mark of a dead letter."""
    value = DeadLetterReplay(
        **place._asdict(), topic=topic, reason=reason, replayed_at=replayed_at.astimezone(UTC)
    )
    return b"%d/%d" % (place.partition, place.offset), value.model_dump_json().encode()
