"""Dead letters of sources: their queries run again on the records."""

from collections.abc import Mapping
from datetime import datetime

from kafka.consumer.fetcher import ConsumerRecord

from livesegments.ingest.transform import Transform
from livesegments.operations.dead_letters import Letter
from livesegments.store.outbox import Output


def events_of(
    transforms: Mapping[str, Transform], letter: Letter, now: datetime
) -> list[Output] | str:
    """Return the events of a dead letter, or the reason for which there would be none.

    They are those of its source's query as it is now; ``transforms`` are by name of the source. A
    record that the query leaves out now has no events, and is settled by that.
    """
    origin = letter.origin
    transform = transforms.get(origin.source or "")
    if transform is None:
        return f"from source {origin.source!r}, which is not in the file of sources"
    record = ConsumerRecord(
        topic=origin.topic,
        partition=origin.partition,
        leader_epoch=-1,
        offset=origin.offset,
        timestamp=origin.timestamp_ms,
        timestamp_type=0,
        key=letter.key,
        value=letter.value,
        headers=origin.original_headers,
        checksum=None,
        serialized_key_size=len(letter.key or b""),
        serialized_value_size=len(letter.value or b""),
        serialized_header_size=0,
    )
    done = transform.run([record], int(now.timestamp() * 1000))
    if done.rejected:
        return f"{done.rejected[0].reason}: {done.rejected[0].message}"
    return [Output(transform.topic, key, value, []) for _, key, value in done.events]
