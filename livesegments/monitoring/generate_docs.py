"""Write docs/metrics.md: ``python -m livesegments.monitoring.generate_docs [FILE]``."""

import sys
from pathlib import Path

from livesegments.monitoring.metric_specs import TABLE, Series

FILE = Path(__file__).resolve().parents[2] / "docs" / "metrics.md"

_HEAD = """\
# Metrics

Made from `livesegments/monitoring/metric_specs.py` by `make docs`. A worker exposes these at
`:9108/metrics`, each with the prefix `livesegments_`, beside `process_*` (memory, CPU, start time).
Every series is there from the start, for every value of its labels; those of a partition come and
go with its ownership. No label ever names a customer. NaN is *not known yet*.

*Over workers* is the aggregation that is right for several: counts and partitions are each worker's
own and are summed; what is said of the model is the whole model as that worker sees it, so
`max by (segment) (livesegments_cluster_customers)`, never `sum`.

| name | type | labels | unit | over workers | meaning |
|---|---|---|---|---|---|
"""

_LABELS = """
## Values of labels

| label | values |
|---|---|
"""


def document() -> str:
    """Return the contents of the page."""
    rows = "".join(_row(series) for series in TABLE)
    labels: dict[str, dict[str, None]] = {}
    for series in TABLE:
        for label in series.labels:
            if series.type != "info":
                values = series.values_of(label) or ("those the worker holds",)
                labels.setdefault(label, {}).update(dict.fromkeys(values))
    listed = "".join(f"| {label} | {', '.join(values)} |\n" for label, values in labels.items())
    return _HEAD + rows + _LABELS + listed


def _row(series: Series) -> str:
    labels = ", ".join(series.labels)
    return (
        f"| `{series.name}` | {series.type} | {labels} | {series.unit} | {series.over_workers} |"
        f" {series.meaning} |\n"
    )


if __name__ == "__main__":
    (Path(sys.argv[1]) if len(sys.argv) > 1 else FILE).write_text(document())
