"""Checks of the model's statistics against every customer's window."""

from math import log, log1p

from livesegments.operations.verify.partition import Partition
from livesegments.operations.verify.reference import Expected
from livesegments.operations.verify.report import Check
from livesegments.operations.verify.store_reader import StoredCustomer

STEPS = 1 << 20
"""Fixed-point steps per unit of a feature."""
UNKNOWN = -(2**31)
URBANICITY = {"rural": 0.0, "suburban": 0.5, "urban": 1.0}
ROUNDING = 2
HALF_PRECISION = STEPS // 14
"""Ages are stored in half precision: up to 128 within 1/16."""


def check_counted(check: Check, at: Partition) -> None:
    """Compare each record's cluster and vector with its window at the partition's clock.

    While a sweep is running, records that are still as of the previous tile are skipped.
    """
    tiles, tile_us = at.deployed.tiles, at.deployed.tile_us
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
            wanted = _vector(purchases, cents, expected)
            check.that(
                _same(record, wanted), f"{where}: counted as {record.vector}, should be {wanted}"
            )
    if left_out:
        check.leave_out(at.where, f"{left_out} customers while a sweep was under way")


def _window(expected: Expected | None, first: int) -> tuple[int, int]:
    cells = [cell for tile, cell in expected.tiles.items() if tile >= first] if expected else []
    return sum(count for count, _ in cells), sum(cents for _, cents in cells)


def _vector(purchases: int, cents: int, expected: Expected) -> tuple[int, ...]:
    age, income, location = expected.profile
    values = (
        log1p(purchases),
        log1p(max(cents, 0) / 100),
        age,
        None if income is None else log(income),
        None if location is None else URBANICITY[location],
    )
    return tuple(UNKNOWN if value is None else round(value * STEPS) for value in values)


def _same(record: StoredCustomer, wanted: tuple[int, ...]) -> bool:
    tolerances = (ROUNDING, ROUNDING, HALF_PRECISION, ROUNDING, ROUNDING)
    return all(
        abs(found - value) <= tolerance
        for found, value, tolerance in zip(record.vector, wanted, tolerances, strict=True)
    )
