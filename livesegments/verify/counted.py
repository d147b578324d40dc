"""Whether the model counts every customer by what its window holds now."""

from math import log, log1p

from livesegments.verify.expected import Expected, Inputs
from livesegments.verify.report import Check
from livesegments.verify.stored import StoredCustomer, StoredPartition

STEPS = 1 << 20
"""Steps in a unit of a feature."""
UNKNOWN = -(2**31)
URBANICITY = {"rural": 0.0, "suburban": 0.5, "urban": 1.0}
ROUNDING = 2
HALF_PRECISION = STEPS // 14
"""Ages are kept in half precision: up to 128 within 1/16."""


def check_counted(
    check: Check, where: str, stored: StoredPartition, inputs: Inputs, tiles: int, tile_us: int
) -> None:
    """Hold each record's cluster and vector against its window at the partition's clock.

    While a sweep is under way some are as of the last tile, and nothing is checked.
    """
    last = max(stored.clock_us, inputs.clock_us) // tile_us
    if not stored.generation:
        return
    if stored.rescore or (stored.swept_tile, stored.swept_generation) != (last, stored.generation):
        check.note = "not where a sweep is under way"
        return
    for name in sorted(set(stored.customers) | set(inputs.customers)):
        record, expected = stored.customers.get(name), inputs.customers.get(name)
        at = f"{where}, customer {name}"
        purchases, cents = _window(expected, last - tiles + 1)
        profiled = expected is not None and expected.profiling != 0
        counts = purchases > 0 and profiled and name not in inputs.suppressed
        is_counted = record is not None and record.cluster >= 0
        check.that(
            is_counted == counts,
            f"{at}: is {'' if is_counted else 'not '}counted, with {purchases} purchases",
        )
        if is_counted and counts and record is not None and expected is not None:
            wanted = _vector(purchases, cents, expected)
            check.that(
                _same(record, wanted), f"{at}: counted as {record.vector}, should be {wanted}"
            )


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
