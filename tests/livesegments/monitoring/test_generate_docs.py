"""The page of metrics matches the table of series."""

from livesegments.monitoring.generate_docs import FILE, document
from livesegments.monitoring.metric_specs import INGEST_TABLE, SERVE_TABLE, TABLE


def test_the_committed_page_is_what_the_table_makes() -> None:
    assert FILE.read_text() == document(), "run `make docs`"


def test_each_series_has_a_row_that_says_all_of_it() -> None:
    rows = [line.split(" | ") for line in document().splitlines() if line.startswith("| `")]
    assert [row[0].strip("| `") for row in rows] == [
        series.name for series in (*TABLE, *INGEST_TABLE, *SERVE_TABLE)
    ]
    assert {len(row) for row in rows} == {6}
