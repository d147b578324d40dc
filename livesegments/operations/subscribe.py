"""Updates of customers as lines of text or JSON, for `livesegments subscribe`."""

import json
import time
from collections.abc import Callable, Container, Mapping
from contextlib import closing
from typing import Any

from kafka import TopicPartition

from livesegments.client import Update, subscribe
from livesegments.consumers.log_reader import LogReader
from livesegments.contracts.segments import SegmentDefinition, SegmentState, read
from livesegments.contracts.topics import DEFINITIONS
from livesegments.rendering.formats import is_doubted, printable, segment_name
from livesegments.rendering.reasons import reasons


def follow(
    config: Mapping[str, Any],
    *,
    write: Callable[[str], object],
    as_json: bool = False,
    from_start: bool = False,
    changes_only: bool = False,
    segment: str | None = None,
    limit: int | None = None,
    idle_exit: float | None = None,
    doubted: Container[str] = (),
) -> int:
    """Write updates as lines until a limit is reached or the topics are idle; return the count.

    Parameters
    ----------
    config, from_start, changes_only
        As for `subscribe`.
    segment
        Only updates that involve this segment.
    limit, idle_exit
        Stop after ``limit`` lines, or ``idle_exit`` seconds without an update; by default never.
    doubted
        Ids of segments whose names are marked in text: their customers are far from the persona.
    """
    lines = 0
    quiet_since: float | None = None
    with closing(subscribe(config, from_start=from_start, changes_only=changes_only)) as updates:
        for update in updates:
            if update is None:
                now = time.monotonic()
                # Start here, so that connecting and reading the states do not count.
                quiet_since = now if quiet_since is None else quiet_since
                if idle_exit is not None and now - quiet_since >= idle_exit:
                    break
                continue
            quiet_since = None
            if segment is not None and segment not in update.segments:
                continue
            write(to_json(update) if as_json else to_line(update, doubted))
            lines += 1
            if lines == limit:
                break
    return lines


def read_doubted(config: Mapping[str, Any]) -> set[str]:
    """Return the ids of segments whose customers are far from what the name says."""
    definitions = TopicPartition(DEFINITIONS, 0)
    latest: dict[str, SegmentDefinition] = {}
    with LogReader(config) as log:
        start, end = (each([definitions]) for each in (log.starts, log.stable_ends))
        for batch in log.read({definitions: (start[definitions], end[definitions])}):
            found = [read(SegmentDefinition, each) for each in batch[definitions] if each.value]
            latest.update((each.id, each) for each in found if each is not None)
    return {each.id for each in latest.values() if is_doubted(each.persona_distance)}


def to_json(update: Update) -> str:
    """Return an update as one JSON object: its type and the fields of its record."""
    fields = {"customer_id": update.customer_id}
    if update.payload is not None:
        fields = update.payload.model_dump(mode="json")
    return json.dumps({"type": update.kind, **fields})


def to_line(update: Update, doubted: Container[str] = ()) -> str:
    """Return an update as text; names of segments with a ``doubted`` id are marked."""
    payload, who = update.payload, f"customer {printable(update.customer_id)}"
    if payload is None:
        return f"{who}  forgotten"
    if isinstance(payload, SegmentState):
        since = f"{payload.since:%Y-%m-%d %H:%M:%S}"
        segment = segment_name(payload.segment, doubted)
        return f"{since}  {who}  is in {segment}"
    why: list[str] = [payload.origin]
    if payload.confidence is not None:
        why.append(f"confidence {payload.confidence:.2f}")
    why += [str(each) for each in reasons(payload)[:2]]
    before, after = payload.previous_segment, payload.segment
    move = f"{segment_name(before, doubted)} -> {segment_name(after, doubted)}"
    when = f"{payload.occurred_at:%Y-%m-%d %H:%M:%S}"
    return f"{when}  {who}  {move}  ({', '.join(why)})"
