"""Checks of the model's statistics against every customer's window."""

from math import log, log1p

from livesegments.operations.verify.partition import Deployed, Partition
from livesegments.operations.verify.reference import DAY_US, Expected
from livesegments.operations.verify.report import Check

STEPS = 1 << 20
"""Fixed-point steps per unit of a feature."""
UNKNOWN = -(2**31)
URBANICITY = {"rural": 0.0, "suburban": 0.5, "urban": 1.0}
ROUNDING = 2
RECENCY_STEPS, MOST_DAYS = 3, 2_000
TOLERANCES = {"age": STEPS // 14}
"""Ages are stored in half precision: up to 128 within 1/16."""


def check_counted(check: Check, at: Partition) -> None:
    """Compare each record's cluster and vector with its window at the partition's clock.

    While a sweep is running, records that are still as of the previous tile are skipped.
    """
    tiles, tile_us = at.deployed.shape.tiles, at.deployed.tile_us
    left_out = 0
    for name in at.names():
        cut, record = at.records.cut(name), at.records.get(name)
        last = at.clock_us(name) // tile_us
        if not cut.generation:
            continue
        if cut.rescore or (cut.swept_tile, cut.swept_generation) != (last, cut.generation):
            left_out += 1
            continue
        if at.inputs.profile_is_compacted(name, cut.offsets):
            continue
        expected = at.inputs.expected(name, cut.offsets)
        where = f"{at.where}, customer {name}"
        purchases, cents = _window(expected, last - tiles + 1)
        profiled = expected is not None and expected.profiling != 0
        counts = purchases > 0 and profiled and not at.inputs.cutoff(name, cut.offsets)[1]
        is_counted = record is not None and record.cluster >= 0
        check.that(
            is_counted == counts,
            f"{where}: is {'' if is_counted else 'not '}counted, with {purchases} purchases",
        )
        if is_counted and counts and record is not None and expected is not None:
            newest = max(tile for tile, (count, _) in expected.tiles.items() if count)
            values = _values(purchases, cents, max(last - newest, 0), at.deployed, expected)
            features = at.deployed.features
            wanted = tuple(steps_of(values[feature]) for feature in features)
            same = all(
                abs(found - value) <= TOLERANCES.get(feature, ROUNDING)
                for feature, found, value in zip(features, record.vector, wanted, strict=True)
            )
            check.that(same, f"{where}: counted as {record.vector}, should be {wanted}")
    if left_out:
        check.leave_out(at.where, f"{left_out} customers while a sweep was under way")


def _window(expected: Expected | None, first: int) -> tuple[int, int]:
    cells = [cell for tile, cell in expected.tiles.items() if tile >= first] if expected else []
    return sum(count for count, _ in cells), sum(cents for _, cents in cells)


def _values(
    purchases: int, cents: int, tiles_since: int, deployed: Deployed, expected: Expected
) -> dict[str, float | None]:
    """Return the value of each feature; ``tiles_since`` is the age of the last purchase."""
    step = -(-deployed.shape.tiles // RECENCY_STEPS)
    return {
        "purchases": log1p(purchases),
        "spend": log1p(max(cents, 0) / 100),
        "recency": min(tiles_since // step * step * deployed.tile_us / DAY_US, MOST_DAYS),
        "basket": log1p(max(cents, 0) / 100 / purchases),
        **profile_values(expected.profile),
    }


def profile_values(
    profile: tuple[float | None, float | None, str | None],
) -> dict[str, float | None]:
    """Return the features of age, income and location."""
    age, income, location = profile
    return {
        "age": age,
        "income": None if income is None else log(income),
        "urbanicity": None if location is None else URBANICITY[location],
    }


def steps_of(value: float | None) -> int:
    """Return a value in fixed-point steps."""
    return UNKNOWN if value is None else round(value * STEPS)
