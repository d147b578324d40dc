"""The promises, one function each."""

from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from kafka import KafkaConsumer, TopicPartition
from kafka.consumer.fetcher import ConsumerRecord

from contracts.cloudevents import read_provenance
from contracts.dead_letters import parse
from contracts.segments import SegmentChange, SegmentState
from contracts.topics import (
    CHANGES,
    DEAD_LETTERS,
    ERASURES,
    INPUTS,
    PROFILES,
    PURCHASES,
    STATES,
)
from livesegments.verify.counted import check_counted
from livesegments.verify.expected import DAY_US, Inputs, recompute
from livesegments.verify.kafka_log import Log
from livesegments.verify.report import Check, Report
from livesegments.verify.stored import (
    StoredPartition,
    counts,
    marker_of,
    read_partition,
)
from store.servers import Client

CLUSTERS, FEATURES = 5, 5
UNKNOWN = -(2**31)

_NAMES = {
    "quiet": "nothing is under way: no recovery, nothing unpublished",
    "records": "every record equals a recomputation from the input log",
    "counted": "the model counts every customer by what its window holds",
    "statistics": "the statistics equal a recount of the records",
    "chain": "each customer's changes follow one another without gap or repeat",
    "state": "the compacted topic and the store agree with the last change",
    "ids": "no event id is published twice",
    "dead letters": "every rejected record is in the dead letters once, with its bytes",
    "erasures": "nothing of an erased customer is left",
    "retention": "nobody is kept who has stayed away for longer than the retention",
}


def verify(
    client: Client,
    config: Mapping[str, Any],
    group_id: str,
    progress: Callable[[str], None] = lambda _: None,
    retention_days: int | None = None,
) -> Report:
    """Check every promise for every partition.

    Parameters
    ----------
    client
        The store.
    config
        Settings of Kafka clients: servers and security.
    group_id
        The deployment.
    progress
        Told what is looked at.
    retention_days
        The deployment's; without it the retention is not looked at.

    Raises
    ------
    RuntimeError
        If no worker has ever run there.
    """
    deployment = _text(client.hgetall(f"{group_id}:deployment"))
    if not deployment:
        raise RuntimeError(f"group {group_id!r} has nothing in the store: no worker has ever run")
    partitions, tiles = int(deployment["partitions"]), int(deployment["tiles"])
    tile_us = int(deployment["window_days"]) * DAY_US // tiles
    report = Report()
    checks = {name: report.check(name, promise) for name, promise in _NAMES.items()}
    log = Log(config)
    offsets = KafkaConsumer(
        **config, group_id=group_id, enable_auto_commit=False, isolation_level="read_committed"
    )
    try:
        for partition in range(partitions):
            progress(f"partition {partition + 1} of {partitions}")
            _verify_partition(
                checks,
                client,
                log,
                offsets,
                group_id,
                partition,
                tiles,
                tile_us,
                deployment["currency"],
                int(deployment.get("dedup_events", 0)),
                retention_days,
                deployment["segments"].split(","),
            )
    finally:
        log.close()
        offsets.close(autocommit=False)
    return report


def _text(stored: Mapping[Any, Any]) -> dict[str, str]:
    return {name.decode(): value.decode() for name, value in stored.items()}


def _verify_partition(
    checks: Mapping[str, Check],
    client: Client,
    log: Log,
    offsets: KafkaConsumer,
    group_id: str,
    partition: int,
    tiles: int,
    tile_us: int,
    currency: str,
    dedup_events: int,
    retention_days: int | None,
    segments: Sequence[str],
) -> None:
    stored = read_partition(client, group_id, partition, tiles)
    while True:
        outputs = {topic: log.read(topic, partition) for topic in (CHANGES, STATES, DEAD_LETTERS)}
        before, stored = stored, read_partition(client, group_id, partition, tiles)
        if before.version == stored.version:
            break
    inputs = recompute(
        log.read(PURCHASES, partition, stored.offsets["purchases"]),
        log.read(PROFILES, partition, stored.offsets["profiles"]),
        log.read(ERASURES, partition, stored.offsets["erasures"]),
        currency=currency,
        tile_us=tile_us,
        dedup_events=dedup_events,
    )
    where = f"partition {partition}"
    _quiet(checks["quiet"], where, stored, offsets, partition)
    _records(checks["records"], where, stored, inputs, tiles, tile_us)
    check_counted(checks["counted"], where, stored, inputs, tiles, tile_us)
    _statistics(checks["statistics"], where, stored)
    shortened = {topic: log.start(topic, partition) > 0 for topic in outputs}
    last = _chain(checks["chain"], where, outputs[CHANGES], shortened[CHANGES])
    _state(checks["state"], where, stored, last, outputs[STATES], segments, shortened[CHANGES])
    _ids(checks["ids"], where, [*outputs[CHANGES], *outputs[STATES]])
    starts = {topic: log.start(topic, partition) for topic in INPUTS}
    letters = outputs[DEAD_LETTERS]
    _dead_letters(
        checks["dead letters"],
        where,
        inputs,
        letters,
        starts,
        shortened[DEAD_LETTERS],
        stored.replayed,
    )
    _erasures(checks["erasures"], where, group_id, stored, inputs, outputs[STATES])
    if retention_days is not None:
        _retention(checks["retention"], where, stored, tile_us, retention_days)


def _quiet(
    check: Check, where: str, stored: StoredPartition, offsets: KafkaConsumer, partition: int
) -> None:
    committed = [offsets.committed(TopicPartition(t, partition), metadata=True) for t in INPUTS]
    check.that(not stored.recovering, f"{where}: a recovery is under way")
    check.that(not stored.rescore, f"{where}: not every customer is scored after a recovery")
    if all(committed):
        check.that(
            tuple(each.offset for each in committed) <= tuple(stored.offsets.values()),
            f"{where}: Kafka's offsets are beyond the store's",
        )
        published = max(int((each.metadata or "0:0").rpartition(":")[2]) for each in committed)
        waiting = [version for version in stored.outbox if version > published]
        check.that(not waiting, f"{where}: versions {waiting} are committed and not published")


def _records(
    check: Check, where: str, stored: StoredPartition, inputs: Inputs, tiles: int, tile_us: int
) -> None:
    first = max(stored.clock_us, inputs.clock_us) // tile_us - tiles + 1
    for name in sorted(set(stored.customers) | set(inputs.customers)):
        record, expected = stored.customers.get(name), inputs.customers.get(name)
        wanted = {
            tile: tuple(cell)
            for tile, cell in (expected.tiles.items() if expected else ())
            if tile >= first and tuple(cell) != (0, 0)
        }
        found = {
            tile: cell
            for tile, cell in (record.tiles.items() if record else ())
            if tile >= first and cell != (0, 0)
        }
        check.that(found == wanted, f"{where}, customer {name}: tiles {found}, not {wanted}")
        profile = expected.profile if expected else (None, None, None)
        kept = (record.age, record.income, record.location) if record else (None, None, None)
        check.that(
            _close(kept[0], profile[0]) and kept[1:] == profile[1:],
            f"{where}, customer {name}: profile {kept}, not {profile}",
        )


def _close(found: float | None, wanted: float | None) -> bool:
    """Ages are kept in half precision."""
    if found is None or wanted is None:
        return found is wanted
    return abs(found - wanted) <= 0.07


def _statistics(check: Check, where: str, stored: StoredPartition) -> None:
    recount: dict[int, list[int]] = defaultdict(lambda: [0] * (CLUSTERS * (1 + 3 * FEATURES)))
    for customer in stored.customers.values():
        if customer.cluster < 0:
            continue
        sums = recount[customer.generation]
        sums[customer.cluster] += 1
        for feature, value in enumerate(customer.vector):
            if value != UNKNOWN:
                cell = CLUSTERS + customer.cluster * FEATURES + feature
                for place, amount in enumerate((1, value, value * value >> 20)):
                    sums[cell + place * CLUSTERS * FEATURES] += amount
    for generation in sorted(set(recount) | set(stored.statistics)):
        kept = list(counts(stored.statistics.get(generation, b"")))
        wanted = recount.get(generation, [0] * len(kept))
        check.that(
            kept == wanted,
            f"{where}, generation {generation}: counts {kept[:CLUSTERS]} and their sums, not"
            f" {wanted[:CLUSTERS]}",
        )
    check.that(
        len(recount) <= 1,
        f"{where}: records of generations {sorted(recount)} side by side: a sweep is not done",
    )


def _chain(
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


def _state(
    check: Check,
    where: str,
    stored: StoredPartition,
    last: Mapping[str, SegmentChange],
    records: Sequence[ConsumerRecord],
    segments: Sequence[str],
    shortened: bool,
) -> None:
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
        if record and record.cluster < 0:
            check.that(held is None, f"{at}: has a segment and is in no cluster")


def _ids(check: Check, where: str, records: Sequence[ConsumerRecord]) -> None:
    seen = Counter(dict(record.headers).get("ce_id", b"") for record in records)
    for event_id, times in seen.items():
        check.that(
            times == 1 and event_id != b"", f"{where}: ce_id {event_id.decode()!r} {times} times"
        )


def _dead_letters(
    check: Check,
    where: str,
    inputs: Inputs,
    records: Sequence[ConsumerRecord],
    starts: Mapping[str, int],
    shortened: bool,
    replayed: int,
) -> None:
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


def _erasures(
    check: Check,
    where: str,
    group_id: str,
    stored: StoredPartition,
    inputs: Inputs,
    states: Sequence[ConsumerRecord],
) -> None:
    latest = {record.key.decode(): record.value for record in states}
    for name in sorted(inputs.cutoffs):
        at = f"{where}, customer {name}"
        marker = stored.markers.get(marker_of(name, group_id))
        check.that(marker is not None, f"{at}: the erasure is not remembered")
        if marker is not None:
            check.that(marker[0] == inputs.cutoffs[name], f"{at}: the erasure's time is another")
        if name not in inputs.customers:
            check.that(name not in stored.customers, f"{at}: was erased and has a record")
            check.that(latest.get(name) is None, f"{at}: was erased and has a state")


def _retention(
    check: Check, where: str, stored: StoredPartition, tile_us: int, retention_days: int
) -> None:
    tile = stored.clock_us // tile_us
    if stored.swept_tile < tile:
        check.note = "a sweep is under way: not everyone was looked at"
        return
    first = tile - -(-retention_days * DAY_US // tile_us) + 1
    for name, customer in stored.customers.items():
        check.that(
            customer.profiled or customer.head >= first or customer.profile_us >= first * tile_us,
            f"{where}, customer {name}: stayed away since tile {customer.head}, and is kept",
        )
