"""What is published, against itself, the store and the inputs."""

from collections import Counter
from collections.abc import Mapping, Sequence

from kafka.consumer.fetcher import ConsumerRecord

from contracts.cloudevents import read_provenance
from contracts.dead_letters import parse
from contracts.segments import SegmentChange, SegmentState
from contracts.topics import PURCHASES
from livesegments.verify.expected import Inputs
from livesegments.verify.report import Check
from livesegments.verify.stored import StoredPartition


def check_chain(
    check: Check, where: str, records: Sequence[ConsumerRecord], shortened: bool
) -> dict[str, SegmentChange]:
    """Follow every customer; of a log that lost its start, the first change is believed."""
    last: dict[str, SegmentChange] = {}
    for record in records:
        change = SegmentChange.model_validate_json(record.value)
        name = change.customer_id
        at = f"{where}, customer {name}, offset {record.offset}"
        check.that(record.key == name.encode(), f"{at}: the key is not the customer")
        before = last.get(name)
        said = change.previous_segment.id if change.previous_segment else None
        was = before.segment.id if before and before.segment else None
        was = said if before is None and shortened else was
        now = change.segment.id if change.segment else None
        check.that(said == was, f"{at}: previous segment {said}, but it was {was}")
        check.that(now != was, f"{at}: from {was} to {now} is no change")
        kind = "assigned" if was is None else "unassigned" if now is None else "reassigned"
        check.that(change.change == kind, f"{at}: says {change.change} and is {kind}")
        if before:
            check.that(
                change.version > before.version,
                f"{at}: version {change.version} after {before.version}",
            )
        last[name] = change
    return last


def check_state(
    check: Check,
    where: str,
    stored: StoredPartition,
    last: Mapping[str, SegmentChange],
    records: Sequence[ConsumerRecord],
    segments: Sequence[str],
    shortened: bool,
) -> None:
    """The compacted topic and the store agree with the last change."""
    states: dict[str, SegmentState | None] = {}
    for record in records:
        value = record.value
        states[record.key.decode()] = SegmentState.model_validate_json(value) if value else None
    for name in sorted(set(last) | set(states) | set(stored.customers)):
        change, state = last.get(name), states.get(name)
        told = change.segment.id if change and change.segment else None
        kept = state.segment.id if state and state.segment else None
        told = kept if change is None and shortened else told
        at = f"{where}, customer {name}"
        check.that(told == kept, f"{at}: last changed to {told}, but the state is {kept}")
        record = stored.customers.get(name)
        check.that(state is None or record is not None, f"{at}: has a state and no record")
        held = segments[record.segment] if record and record.segment >= 0 else None
        check.that(told == held, f"{at}: last changed to {told}, but the store has {held}")
        if change and record and record.segment >= 0:
            check.that(
                record.version == change.version,
                f"{at}: changed in version {change.version}, the store says {record.version}",
            )
        if state and record:
            said = -1 if state.consent.marketing is None else int(state.consent.marketing)
            check.that(
                said == record.marketing,
                f"{at}: consent to marketing is {record.marketing}, but the state says {said}",
            )
        if record and record.cluster < 0:
            check.that(held is None, f"{at}: has a segment and is in no cluster")


def check_ids(check: Check, where: str, records: Sequence[ConsumerRecord]) -> None:
    """No event id is published twice."""
    seen = Counter(dict(record.headers).get("ce_id", b"") for record in records)
    for event_id, times in seen.items():
        check.that(
            times == 1 and event_id != b"", f"{where}: ce_id {event_id.decode()!r} {times} times"
        )


def check_dead_letters(
    check: Check,
    where: str,
    inputs: Inputs,
    records: Sequence[ConsumerRecord],
    starts: Mapping[str, int],
    shortened: bool,
    replayed: int,
) -> None:
    """Every rejected record is in the dead letters once, with its bytes."""

    def of_then(topic: str, offset: int, *reasons: str) -> bool:
        """Whether another currency may have been asked for when a record was decided on."""
        return topic == PURCHASES and offset < replayed and "bad_currency" in reasons

    letters: Counter[tuple[str, int]] = Counter()
    for record in records:
        letter = parse(record.headers)
        source = (letter.topic, letter.offset)
        letters[source] += 1
        at = f"{where}, dead letter of {letter.topic} offset {letter.offset}"
        check.that(read_provenance(record.headers) is not None, f"{at}: has no version")
        if letter.offset < starts[letter.topic]:
            continue
        expected = inputs.rejected.get(source)
        valid_now = of_then(*source, letter.reason)
        check.that(expected is not None or valid_now, f"{at}: that record is valid")
        if expected:
            key, value, reason = expected
            nothing = key is None and value is None and record.value == b""
            same = record.key == key and (record.value == value or nothing)
            check.that(same, f"{at}: its bytes are not the record's")
            other = letter.reason != reason and not of_then(*source, letter.reason, reason)
            check.that(not other, f"{at}: {letter.reason}, should be {reason}")
    for source, (_, _, reason) in inputs.rejected.items():
        may_lack = shortened or of_then(*source, reason)
        check.that(
            letters[source] == 1 or (may_lack and not letters[source]),
            f"{where}: {source[0]} offset {source[1]} is dead-lettered {letters[source]} times",
        )
