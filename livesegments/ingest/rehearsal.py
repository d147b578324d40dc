"""Rehearsal of sources: what would become of the newest records of their topics."""

import time
from collections.abc import Iterator
from dataclasses import dataclass

from kafka.consumer.fetcher import ConsumerRecord

from livesegments.config.settings import Settings
from livesegments.contracts.dead_letters import Rejection
from livesegments.ingest.definitions import Source, Sources
from livesegments.ingest.preparation import check_topics, samples, transforms
from livesegments.ingest.transform import Event
from livesegments.ingest.worker import CHECKED_RECORDS


@dataclass(frozen=True, slots=True)
class Outcome:
    """A source record, its events, and the reason why it would be a dead letter.

    A partly valid record has both; one with neither is one that the query leaves out.
    """

    source: Source
    record: ConsumerRecord
    events: list[Event]
    rejection: Rejection | None


def rehearse(
    settings: Settings, sources: Sources, chosen: list[Source], most: int
) -> Iterator[Outcome]:
    """Transform the newest records of each source's topic; sends nothing and joins no group.

    Raises `SourcesError` as `samples` and `transforms` do.
    """
    check_topics(settings, chosen, write=False)
    made = transforms(settings, sources, chosen)
    try:
        for transform, records in samples(settings, made, max(most, CHECKED_RECORDS)):
            records = sorted(records, key=lambda record: record.timestamp)[-most:]
            done = transform.run(records, time.time_ns() // 1_000_000)
            events: dict[int, list[Event]] = {}
            for event in done.events:
                events.setdefault(event.row, []).append(event)
            for row, record in enumerate(records):
                rejection = done.rejected.get(row) or done.partly_valid.get(row)
                yield Outcome(transform.source, record, events.get(row, []), rejection)
    finally:
        for transform in made:
            transform.query.close()
