"""Checks of the store against the inputs that it was built from."""

from collections import defaultdict
from collections.abc import Callable, Mapping

import numpy as np
from kafka.consumer.fetcher import ConsumerRecord

from livesegments.contracts.topics import INPUTS, PURCHASES
from livesegments.operations.verify.event_hashes import hash_ids
from livesegments.operations.verify.partition import Partition
from livesegments.operations.verify.reading import Committed, unpublished
from livesegments.operations.verify.reference import DAY_US, Content, Expected
from livesegments.operations.verify.report import Check
from livesegments.operations.verify.store_reader import Cut, Marker, StoredCustomer, counts

UNKNOWN = -(2**31)
UNASKED = -1
WORD = 1 << 64
MOST_BEHIND = 2_000_000
"""Maximum lag of Kafka's offsets behind those of an idle store, in input records: the records that
a worker processes during one publication."""


def check_quiet(check: Check, at: Partition) -> None:
    """Check that no recovery is running, and nothing stays unpublished."""
    last, committed = at.records.last, at.committed
    check.that(not last.recovering, f"{at.where}: a recovery is under way")
    check.that(last.rescore != 1, f"{at.where}: not every customer is scored after a recovery")
    if last.rescore > 1:
        check.leave_out(at.where, "customers with data from after an erasure have no segment yet")
    if committed.known:
        waiting = unpublished(at.records, committed)
        check.that(not waiting, f"{at.where}: versions {waiting} are committed and not published")


def check_offsets(
    check: Check, at: Partition, after: Cut, now: Committed, ends: Mapping[str, int]
) -> None:
    """Check that Kafka's offsets follow the store's, and neither exceeds the other or the log.

    ``after`` and ``now`` are the store's checkpoint and Kafka's offsets after all reads.
    """
    for topic in INPUTS:
        stored = after.offsets[topic]
        check.that(
            stored <= ends[topic],
            f"{at.where}: the store's offset of {topic} is {stored}, the topic ends at"
            f" {ends[topic]}",
        )
    if not at.committed.known:
        return
    check.that(
        all(at.committed.offsets[topic] <= after.offsets[topic] for topic in INPUTS),
        f"{at.where}: Kafka's offsets are beyond the store's",
    )
    if after.version > at.records.first.version:
        check.that(
            now.version >= at.records.first.version,
            f"{at.where}: the store is at version {after.version}, Kafka's offsets still at"
            f" {now.version}",
        )
        return
    behind = max(after.offsets[topic] - now.offsets[topic] for topic in INPUTS)
    check.that(
        behind <= MOST_BEHIND,
        f"{at.where}: Kafka's offsets are {behind} records behind the store's",
    )


def check_outbox(check: Check, at: Partition) -> None:
    """Check that the outbox holds only committed versions."""
    for version in at.records.outbox:
        check.that(
            0 < version <= at.records.last.version,
            f"{at.where}: the outbox holds version {version}, the last commit is"
            f" {at.records.last.version}",
        )


def check_clock(check: Check, at: Partition) -> None:
    """Check that the clock is not behind the newest accepted purchase; an event clock equals it.

    A purchase dated ahead of all clocks does not advance any clock to its time.
    """
    exact = at.deployed.event_clock and at.starts[PURCHASES] == 0
    for cut in (*at.records.cuts(), at.records.last):
        newest = at.inputs.clock_us(cut.offsets[PURCHASES])
        if newest > at.latest_us:
            check.leave_out(at.where, "a purchase is dated ahead of every clock")
            return
        check.that(
            cut.clock_us == newest if exact else cut.clock_us >= newest,
            f"{at.where}: the clock is {cut.clock_us}, the newest purchase {newest}, in version"
            f" {cut.version}",
        )


def check_ring(
    check: Check, at: Partition, cut: Cut, ring: bytes, key_hash: Callable[[bytes], int]
) -> None:
    """Check that the dedup ring holds the last valid purchases, each in its place.

    ``key_hash`` is the hash by which the key's partition is chosen.
    """
    size = at.deployed.dedup_events
    seen = at.inputs.contents(cut.offsets[PURCHASES], min(size, cut.remembered))
    if not seen:
        return
    ids = hash_ids([each.event_id for each in seen])
    contents = np.array([_content(each, key_hash(each.customer.encode())) for each in seen])
    wanted = ids >> 16 << 16 | contents.astype(np.uint64)
    places = np.arange(cut.remembered - len(seen), cut.remembered) % size
    kept = np.frombuffer(ring[: len(ring) // 8 * 8], "<u8")
    kept = np.pad(kept, (0, max(0, int(places.max()) + 1 - len(kept))))
    wrong = np.flatnonzero(kept[places] != wanted)
    check.cases += len(seen) - 1
    check.that(
        not wrong.size,
        f"{at.where}: {wrong.size} of the last {len(seen)} event ids are not in their place"
        f" of the ring, the first {wrong.size and seen[wrong[0]].event_id!r}",
    )


def _content(seen: Content, key_hash: int) -> int:
    """Return the 16 bits of a purchase's content in its fingerprint."""
    mixed = _splitmix(seen.at) ^ key_hash
    mixed = _splitmix(mixed + (seen.number << 32)) ^ (seen.cents % WORD)
    return _splitmix(mixed) >> 48


def _splitmix(word: int) -> int:
    """Return the finalizer of SplitMix64 (Steele, Lea and Flood 2014)."""
    word %= WORD
    word = (word ^ word >> 30) * 0xBF58476D1CE4E5B9 % WORD
    word = (word ^ word >> 27) * 0x94D049BB133111EB % WORD
    return word ^ word >> 31


def check_records(check: Check, at: Partition) -> None:
    """Check that every record equals a recomputation from the input log."""
    tiles, tile_us = at.deployed.shape.tiles, at.deployed.tile_us
    for name in at.names():
        cut, record = at.records.cut(name), at.records.get(name)
        expected = at.inputs.expected(name, cut.offsets)
        first = at.clock_us(name) // tile_us - tiles + 1
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
        check.that(found == wanted, f"{at.where}, customer {name}: tiles {found}, not {wanted}")
        if at.inputs.profile_is_compacted(name, cut.offsets):
            continue
        _check_profile(check, f"{at.where}, customer {name}", record, expected)


def _check_profile(
    check: Check, where: str, record: StoredCustomer | None, expected: Expected | None
) -> None:
    profile = expected.profile if expected else (None, None, None)
    kept = (record.age, record.income, record.location) if record else (None, None, None)
    check.that(
        _close(kept[0], profile[0]) and kept[1:] == profile[1:],
        f"{where}: profile {kept}, not {profile}",
    )
    wanted_us = expected.profile_us if expected else None
    kept_us = record.profile_us if record else None
    check.that(kept_us == wanted_us, f"{where}: profile of {kept_us}, not of {wanted_us}")
    consents = (expected.marketing, expected.profiling) if expected else (UNASKED, UNASKED)
    held = (record.marketing, record.profiling) if record else (UNASKED, UNASKED)
    for to, found, wanted in zip(("marketing", "profiling"), held, consents, strict=True):
        check.that(found == wanted, f"{where}: consent to {to} {found}, not {wanted}")


def _close(found: float | None, wanted: float | None) -> bool:
    """Return whether two ages are equal; ages are stored in half precision."""
    if found is None or wanted is None:
        return found is wanted
    return abs(found - wanted) <= 0.07


def check_statistics(check: Check, at: Partition) -> None:
    """Check that the statistics equal a recount of the records, if all are at one version."""
    if not at.records.whole:
        check.leave_out(at.where, "commits or a sweep came in between")
        return
    statistics, (_, d, k) = at.records.statistics, at.deployed.shape
    recount: dict[int, list[int]] = defaultdict(lambda: [0] * (k * (1 + 3 * d)))
    for _, customer, _ in at.records.present():
        if customer.cluster < 0:
            continue
        sums = recount[customer.generation]
        sums[customer.cluster] += 1
        for feature, value in enumerate(customer.vector):
            if value != UNKNOWN:
                cell = k + customer.cluster * d + feature
                for place, amount in enumerate((1, value, value * value >> 20)):
                    sums[cell + place * k * d] += amount
    for generation in sorted(set(recount) | set(statistics)):
        kept = list(counts(statistics.get(generation, b"")))
        wanted = recount.get(generation, [0] * len(kept))
        check.that(
            kept == wanted,
            f"{at.where}, generation {generation}: counts {kept[:k]} and their sums, not"
            f" {wanted[:k]}",
        )
    sides = f"records of generations {sorted(recount)} side by side"
    if at.records.last.is_swept(at.deployed.tile_us):
        check.that(len(recount) <= 1, f"{at.where}: {sides}, and no sweep is under way")
    elif len(recount) > 1:
        check.leave_out(at.where, f"{sides}: a sweep is under way")


def check_erasures(
    check: Check,
    at: Partition,
    markers: Mapping[str, tuple[Cut, Marker | None]],
    states: Mapping[str, ConsumerRecord],
) -> None:
    """Check that only refusals of consent are left of an erased customer, and no state.

    ``markers`` maps each customer to the erasure marker and the cut at which it was read,
    ``states`` to their last state.
    """
    for name, (cut, marker) in markers.items():
        where = f"{at.where}, customer {name}"
        cutoff, _ = at.inputs.cutoff(name, cut.offsets)
        if cutoff:
            check.that(marker is not None, f"{where}: the erasure is not remembered")
            if marker is not None:
                check.that(marker[0] == cutoff, f"{where}: the erasure's time is another")
        own, record = at.records.cut(name).offsets, at.records.get(name)
        first = at.inputs.cutoff(name, own)[0] // at.deployed.tile_us
        left = [
            t for t, cell in (record.tiles if record else {}).items() if any(cell) and t < first
        ]
        check.that(not left, f"{where}: purchases in tiles {left} are from before the erasure")
        if not at.inputs.cutoff(name, own)[0] or at.inputs.profile_is_compacted(name, own):
            continue
        if at.inputs.expected(name, own) is None:
            check.that(record is None, f"{where}: was erased and has a record")
        if record and (any(map(any, record.tiles.values())) or record.profile_us is not None):
            continue
        if at.compares(name):
            state = states.get(name)
            gone = state is None or state.value is None
            check.that(gone, f"{where}: was erased and has a state")


def check_retention(check: Check, at: Partition) -> None:
    """Check that customers without a profile are not kept beyond the retention."""
    tile_us, days = at.deployed.tile_us, at.deployed.retention_days
    if days is None:
        return
    left_out = 0
    for name, customer, cut in at.records.present():
        tile = cut.clock_us // tile_us
        if cut.swept_tile < tile:
            left_out += 1
            continue
        first = tile - -(-days * DAY_US // tile_us) + 1
        check.that(
            customer.profiled or customer.head >= first,
            f"{at.where}, customer {name}: inactive since tile {customer.head}, and still kept",
        )
    if left_out:
        check.leave_out(at.where, f"{left_out} customers while a sweep was under way")
