"""Query of a running deployment about one customer."""

import time
from collections.abc import Callable, Mapping
from itertools import takewhile
from typing import Any

from kafka import TopicPartition

from livesegments.analysis.customer.answer import answer, nothing_kept
from livesegments.analysis.customer.explanation import Json
from livesegments.analysis.customer.lookup import StoredCustomer, look_up
from livesegments.config.clients import kafka_config, open_store
from livesegments.config.settings import Settings
from livesegments.consumers.log_reader import LogReader
from livesegments.contracts.segments import SegmentChange, read
from livesegments.contracts.topics import CHANGES
from livesegments.domain import Model
from livesegments.operations.model_loader import current_model, rules_of

CHUNK = 20_000
SEARCHED = 1_000_000
"""Records of the partition that are searched at most."""
STALL_SECONDS = 20.0


def query_customer(
    settings: Settings,
    customer_id: str,
    *,
    newest: int,
    searched: int = SEARCHED,
    progress: Callable[[int], None] = lambda _: None,
) -> Json:
    """Return the answer about a customer.

    Reads a few keys of the store, the segment definitions, and for the ``newest`` changes up to
    ``searched`` records at the end of the customer's partition; writes nothing and joins no group.
    Raises as `look_up`.
    """
    config = kafka_config(settings)
    store = open_store(settings)
    found = look_up(store, customer_id)
    forgotten = nothing_kept(found)
    if forgotten is not None:
        return forgotten
    history = None
    if newest:
        history = read_history(config, found, newest=newest, searched=searched, progress=progress)
    segmentation = settings.read_segmentation()
    model = current_model(config, store, found.deployment, segmentation).model({})
    return answer_now(settings, found, model, history)


def answer_now(
    settings: Settings, found: StoredCustomer, model: Model | None, history: Json | None = None
) -> Json:
    """Return the answer about a customer at the time of their partition's clock."""
    clock_us = found.progress.clock_us
    if settings.clock == "wall":
        clock_us = max(clock_us, time.time_ns() // 1_000)
    return answer(found, model, rules_of(settings, found.deployment), clock_us, history)


def read_history(
    config: Mapping[str, Any],
    customer: StoredCustomer,
    *,
    newest: int,
    searched: int = SEARCHED,
    progress: Callable[[int], None] = lambda _: None,
) -> Json:
    """Read a customer's newest changes, backwards in chunks until there are enough.

    Joins no group, and reads only the customer's partition. Changes before an erasure are left out.

    Returns
    -------
    ``changes``, newest first; the number of records ``searched``; and ``whole``, true if the
    partition was read to its start: there are no more.
    """
    tp, key = TopicPartition(CHANGES, customer.partition), customer.customer_id.encode()
    changes: list[SegmentChange] = []
    with LogReader(config, STALL_SECONDS) as log:
        start, end = log.starts([tp])[tp], log.ends([tp])[tp]
        at = end
        while at > start and len(changes) < newest and end - at < searched:
            before, at = at, max(start, at - CHUNK)
            found = [
                change
                for batch in log.read({tp: (at, before)})
                for record in batch[tp]
                if record.key == key and (change := read(SegmentChange, record)) is not None
            ]
            changes += reversed(found)
            progress(end - at)
    since_us = customer.marker.cutoff_us
    since_erasure = takewhile(lambda each: each.origin != "erasure" or each.segment, changes)
    kept = [each for each in since_erasure if each.occurred_at.timestamp() * 1e6 >= since_us]
    return {
        "changes": [each.model_dump(mode="json") for each in kept[:newest]],
        "searched": end - at,
        "whole": at <= start and len(kept) <= newest,
    }
