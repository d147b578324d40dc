"""What a partition's records must be: recomputed event by event from the input log."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field

from kafka.consumer.fetcher import ConsumerRecord

from contracts.dead_letters import fitting
from contracts.decode import decode_erasures, decode_profiles, decode_purchases
from contracts.topics import ERASURES, PROFILES, PURCHASES

DAY_US = 86_400_000_000
_LOCATION = {0.0: "rural", 0.5: "suburban", 1.0: "urban"}


@dataclass(slots=True)
class Expected:
    """One customer: every purchase by tile, and the profile that counts."""

    tiles: dict[int, list[int]] = field(default_factory=lambda: defaultdict(lambda: [0, 0]))
    profile: tuple[float | None, float | None, str | None] = (None, None, None)
    marketing: int = -1
    profiling: int = -1


@dataclass(slots=True)
class Inputs:
    """What the input log of one partition adds up to.

    ``rejected`` is (topic, offset) -> (key, value, reason) of each record that no contract takes,
    as its dead letter must have them.
    """

    customers: dict[str, Expected]
    rejected: dict[tuple[str, int], tuple[bytes | None, bytes | None, str]]
    clock_us: int
    cutoffs: dict[str, int]
    suppressed: set[str]


def recompute(  # noqa: C901 - plain on purpose
    purchases: Sequence[ConsumerRecord],
    profiles: Sequence[ConsumerRecord],
    erasures: Sequence[ConsumerRecord],
    *,
    currency: str,
    tile_us: int,
    dedup_events: int,
) -> Inputs:
    """Add up a partition's inputs, plainly."""
    rejected: dict[tuple[str, int], tuple[bytes | None, bytes | None, str]] = {}

    def columns(records: Sequence[ConsumerRecord]) -> tuple[list, list, list]:  # type: ignore[type-arg]
        return (
            [r.key for r in records],
            [r.value for r in records],
            [r.timestamp for r in records],
        )

    bought, bad_purchases = decode_purchases(*columns(purchases), currency=currency)
    known, bad_profiles = decode_profiles(*columns(profiles))
    requests, bad_erasures = decode_erasures(*columns(erasures))
    for topic, records, bad in (
        (PURCHASES, purchases, bad_purchases),
        (PROFILES, profiles, bad_profiles),
        (ERASURES, erasures, bad_erasures),
    ):
        for rejection in bad:
            record = records[rejection.row]
            key, value, _ = fitting(record.key, record.value, record.headers)
            rejected[topic, record.offset] = (key, value, rejection.reason.value)

    cutoffs: dict[str, int] = defaultdict(int)
    suppressed_at: dict[str, int] = defaultdict(int)
    restored_at: dict[str, int] = defaultdict(int)
    for name, at, action in zip(
        requests.customer_id, requests.requested_at.tolist(), requests.action.tolist(), strict=True
    ):
        # A restore that ends no suppression asks for nothing.
        if action != 2 or (suppressed_at[name] > restored_at[name] and at >= suppressed_at[name]):
            cutoffs[name] = max(cutoffs[name], (at // tile_us + 1) * tile_us)
        if action == 1:
            suppressed_at[name] = max(suppressed_at[name], at)
            if at == restored_at[name]:
                restored_at[name] -= 1
        if action == 2:
            restored_at[name] = max(restored_at[name], at)

    customers: dict[str, Expected] = defaultdict(Expected)
    clock_us = 0
    last_seen: dict[str, int] = {}
    for place, (event_id, name, at, cents, count) in enumerate(
        zip(
            bought.event_id,
            bought.customer_id,
            bought.occurred_at.tolist(),
            bought.cents.tolist(),
            bought.count.tolist(),
            strict=True,
        )
    ):
        before, last_seen[event_id] = last_seen.get(event_id), place
        if before is not None and place - before <= dedup_events:
            continue
        clock_us = max(clock_us, at)
        if at >= cutoffs.get(name, 0):
            tile = customers[name].tiles[at // tile_us]
            tile[0] += count
            tile[1] += cents
    latest: dict[str, int] = {}
    for i, (name, at) in enumerate(zip(known.customer_id, known.updated_at.tolist(), strict=True)):
        if at < cutoffs.get(name, 0) or at < latest.get(name, at):
            continue
        latest[name] = at
        age, income, urban = (float(c[i]) for c in (known.age, known.income, known.urbanicity))
        customers[name].profile = (_known(age), _known(income), _LOCATION.get(urban))
        customers[name].marketing = int(known.marketing[i])
        customers[name].profiling = int(known.profiling[i])
    return Inputs(
        customers=dict(customers),
        rejected=rejected,
        clock_us=clock_us,
        cutoffs=dict(cutoffs),
        suppressed={n for n, at in suppressed_at.items() if at > restored_at.get(n, 0)},
    )


def _known(value: float) -> float | None:
    return None if value != value else value
