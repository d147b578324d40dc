"""What the store holds, against the inputs that it was made from."""

from collections import defaultdict
from collections.abc import Sequence

from kafka import KafkaConsumer, TopicPartition
from kafka.consumer.fetcher import ConsumerRecord

from contracts.topics import INPUTS
from livesegments.verify.expected import DAY_US, Inputs
from livesegments.verify.report import Check
from livesegments.verify.stored import StoredPartition, counts, marker_of

CLUSTERS, FEATURES = 5, 5
UNKNOWN = -(2**31)
UNASKED = -1


def check_quiet(
    check: Check, where: str, stored: StoredPartition, offsets: KafkaConsumer, partition: int
) -> None:
    """Nothing is under way: no recovery, nothing unpublished."""
    committed = [offsets.committed(TopicPartition(t, partition), metadata=True) for t in INPUTS]
    check.that(not stored.recovering, f"{where}: a recovery is under way")
    check.that(not stored.rescore, f"{where}: not every customer is scored after a recovery")
    if all(committed):
        check.that(
            all(
                each.offset <= offset
                for each, offset in zip(committed, stored.offsets.values(), strict=True)
            ),
            f"{where}: Kafka's offsets are beyond the store's",
        )
        published = max(int((each.metadata or "0:0").rpartition(":")[2]) for each in committed)
        waiting = [version for version in stored.outbox if version > published]
        check.that(not waiting, f"{where}: versions {waiting} are committed and not published")


def check_records(
    check: Check, where: str, stored: StoredPartition, inputs: Inputs, tiles: int, tile_us: int
) -> None:
    """Every record equals a recomputation from the input log."""
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
        consent = (
            record.marketing if record else UNASKED,
            expected.marketing if expected else UNASKED,
        )
        check.that(
            consent[0] == consent[1],
            f"{where}, customer {name}: consent to marketing {consent[0]}, not {consent[1]}",
        )


def _close(found: float | None, wanted: float | None) -> bool:
    """Ages are kept in half precision."""
    if found is None or wanted is None:
        return found is wanted
    return abs(found - wanted) <= 0.07


def check_statistics(check: Check, where: str, stored: StoredPartition) -> None:
    """The statistics equal a recount of the records."""
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


def check_erasures(
    check: Check,
    where: str,
    group_id: str,
    stored: StoredPartition,
    inputs: Inputs,
    states: Sequence[ConsumerRecord],
) -> None:
    """Nothing of an erased customer is left."""
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


def check_retention(
    check: Check, where: str, stored: StoredPartition, tile_us: int, retention_days: int
) -> None:
    """Nobody is kept who has stayed away for longer than the retention."""
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
