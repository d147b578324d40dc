"""Changes of one customer, newest first, from the end of their partition of the change log."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from kafka import TopicPartition

from livesegments.consumers.log_reader import LogReader
from livesegments.contracts.segments import SegmentChange
from livesegments.contracts.topics import CHANGES

CHUNK = 20_000
SEARCHED = 1_000_000
"""Records of the partition that are searched at most."""
STALL_SECONDS = 20.0


@dataclass(frozen=True, slots=True)
class History:
    """Changes found in the log.

    Attributes
    ----------
    changes
        Newest first.
    searched
        Records searched.
    whole
        True if the partition was read to its start: there are no more.
    """

    changes: list[SegmentChange]
    searched: int
    whole: bool


def read_history(
    config: Mapping[str, Any],
    partition: int,
    customer_id: str,
    *,
    newest: int,
    since_us: int = 0,
    searched: int = SEARCHED,
    progress: Callable[[int], None] = lambda _: None,
) -> History:
    """Read a customer's newest changes, backwards in chunks until there are enough.

    Joins no group, and reads only the customer's partition.

    Parameters
    ----------
    config
        Settings of the Kafka client.
    partition, customer_id
        Of the customer.
    newest
        Number of changes.
    since_us
        Earlier changes are left out: they precede an erasure.
    searched
        Number of records to search at most.
    progress
        Called with the number of records searched.
    """
    tp, key = TopicPartition(CHANGES, partition), customer_id.encode()
    changes: list[SegmentChange] = []
    with LogReader(config, STALL_SECONDS) as log:
        start, end = log.starts([tp])[tp], log.ends([tp])[tp]
        at = end
        while at > start and len(changes) < newest and end - at < searched:
            before, at = at, max(start, at - CHUNK)
            found = [
                SegmentChange.model_validate_json(record.value)
                for batch in log.read({tp: (at, before)})
                for record in batch[tp]
                if record.key == key
            ]
            changes += reversed(found)
            progress(end - at)
    kept = [change for change in changes if change.occurred_at.timestamp() * 1e6 >= since_us]
    return History(kept[:newest], end - at, at <= start and len(kept) <= newest)
