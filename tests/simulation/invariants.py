"""Invariants of a world at rest, most of them from `livesegments.operations.verify`."""

import json
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import datetime
from math import log1p

from kafka import TopicPartition

from livesegments.contracts.topics import CHANGES, DEFINITIONS, INPUTS
from livesegments.contracts.validation import FUTURE_TOLERANCE_US as TOLERANCE_US
from livesegments.operations.verify import verify
from livesegments.operations.verify.store_reader import marker_of
from tests.simulation.cluster import PARTITIONS
from tests.simulation.harness import SETTINGS, World
from tests.stored import read_partition

TILE_US = SETTINGS.window_days * 86_400_000_000 // SETTINGS.tiles

OF_INPUTS = {"records", "counted", "erasures", "places"}
"""Checks that compare the store with all inputs sent, including those deleted by retention."""
OF_OFFSETS = {"causes", "clock", "dead letters", "repeats"}
"""Checks that miss records cut off from a log's end; their offsets are assigned twice."""

TEXT = ("nonce", "seen", "topics")
STEPS = 1 << 20
"""Fixed-point steps per unit of a stored vector."""


def faults(world: World, *, offsets_lost: bool = False) -> list[str]:
    """Return the violations. After a manual reset, offsets may go back again."""
    now = _checks(world)
    with ExitStack() as stack:
        for log in world.cluster.logs.values():
            stack.enter_context(log.whole())
        of_all = _checks(world)
    names = now.keys() - OF_INPUTS - (OF_OFFSETS if world.loss_accepted else set())
    return [
        *(f"{name}: {fault}" for name in now if name in names for fault in now[name]),
        *(
            f"{name}: {fault}"
            for name in sorted(OF_INPUTS if not world.loss_accepted else ())
            for fault in of_all[name]
        ),
        *_wrong_scores(world),
        *([] if offsets_lost else world.outbox.faults),
        *_wrong_times(world),
        *(
            f"{tp}: offsets went back"
            for tp in world.cluster.went_back
            if not offsets_lost and not world.loss_accepted
        ),
    ]


def _checks(world: World) -> dict[str, list[str]]:
    report = verify(
        world.client(),  # type: ignore[arg-type]
        {"client_id": "the judge"},
        SETTINGS.group_id,
        retention_days=SETTINGS.days_kept,
        event_clock=world.clock == "event",
        now_us=lambda: world.inputs.wall_us,
    )
    return {check.name: check.faults for check in report.checks}


def _wrong_scores(world: World) -> Iterator[str]:
    """Report customers with outdated scores: `verify` does not check how recent a score is."""
    newest = newest_generation(world)
    is_scored_by_purchases = world.segmentation.feature_names[0] == "purchases"
    for partition in range(PARTITIONS) if newest else ():
        stored = read_partition(world.client(), SETTINGS.group_id, partition)  # type: ignore[arg-type]
        first = _clock_us(world, stored.cut.clock_us) // TILE_US - SETTINGS.tiles + 1
        for name, customer in stored.customers.items():
            bought = sum(count for tile, (count, _) in customer.tiles.items() if tile >= first)
            _, suppressed_at, restored_at = stored.markers.get(
                marker_of(name, SETTINGS.group_id), (0, 0, 0)
            )
            counted = bought > 0 and suppressed_at <= restored_at and customer.profiling != 0
            if counted != (customer.cluster >= 0):
                yield f"scores: {name} is in cluster {customer.cluster} with {bought} purchases"
            # Purchases are the first feature of those segmentations that have them.
            elif (
                counted
                and is_scored_by_purchases
                and (abs(customer.vector[0] / STEPS - log1p(bought)) > 2 / STEPS)
            ):
                yield f"scores: {name} is scored with other than {bought} purchases"
            if counted and customer.segment < 0:
                yield f"scores: {name} is in a cluster and has no segment"
            if counted and customer.generation != newest:
                yield f"scores: {name} is of generation {customer.generation}, not {newest}"


def _wrong_times(world: World) -> Iterator[str]:
    """Report changes with a wrong decision time; they may be published much later."""
    for partition in range(PARTITIONS):
        for record in world.cluster.logs[TopicPartition(CHANGES, partition)].read(0, 1_000_000)[0]:
            decided_at = datetime.fromisoformat(json.loads(record.value)["decided_at"])
            ahead = decided_at.timestamp() - (world.inputs.wall_us + TOLERANCE_US) / 1e6
            late = record.timestamp / 1_000 - decided_at.timestamp()
            if ahead > 0 or late > 500 * 86_400:
                yield f"times: change {record.offset} decided at {decided_at}"


def _clock_us(world: World, clock_us: int) -> int:
    return max(clock_us, world.inputs.wall_us) if world.clock == "wall" else clock_us


def unsettled(world: World) -> str:
    """Return the first pending work, "" without any."""
    return next(_to_do(world), "")


def _to_do(world: World) -> Iterator[str]:
    if world.late or any(world.cluster.transactions()):
        yield "calls and transactions are under way"
    newest = newest_generation(world)
    for partition in range(PARTITIONS):
        key = f"{SETTINGS.group_id}:{{{partition}}}:progress".encode()
        stored = {k.decode(): v.decode() for k, v in world.database.hashes.get(key, {}).items()}
        if not stored:
            yield f"partition {partition} has no progress"
            return
        number = {name: int(v) for name, v in stored.items() if name not in TEXT}
        yield from _inputs_to_do(world, partition, number, f"{stored['nonce']}:{stored['version']}")
        yield from _sweeps_to_do(world, partition, number, newest)


def _inputs_to_do(
    world: World, partition: int, number: dict[str, int], metadata: str
) -> Iterator[str]:
    for topic, name in zip(INPUTS, ("purchases", "profiles", "erasures"), strict=True):
        tp = TopicPartition(topic, partition)
        if world.cluster.logs[tp].read(number[name], 1)[0]:
            yield f"{topic}-{partition} has records to fold"
        if not world.cluster.logs[tp].start <= number[name] <= world.cluster.logs[tp].end:
            yield f"{topic}-{partition} is to continue where the log has nothing"
        committed = world.cluster.group.offsets.get(tp)
        if committed is None or (committed.offset, committed.metadata) != (number[name], metadata):
            yield f"{topic}-{partition} has offsets to commit"


def _sweeps_to_do(
    world: World, partition: int, number: dict[str, int], newest: int
) -> Iterator[str]:
    if number["recovering"] or number["rescore"]:
        yield f"partition {partition} recovers"
    if number["proposed_generation"] > newest:
        yield f"generation {number['proposed_generation']} is to come"
    behind = number["swept_tile"] < _clock_us(world, number["clock_us"]) // TILE_US
    if newest and (behind or number["swept_generation"] != newest):
        yield f"partition {partition} is to be swept"


def newest_generation(world: World) -> int:
    """Return the number of the newest published generation, 0 for none."""
    log = world.cluster.logs[TopicPartition(DEFINITIONS, 0)]
    records, _ = log.read(log.start, 1_000_000)
    return max((json.loads(record.value)["generation"] for record in records), default=0)
