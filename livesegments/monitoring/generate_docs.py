"""Write docs/metrics.md: ``python -m livesegments.monitoring.generate_docs [FILE]``."""

import sys
from pathlib import Path

from livesegments.monitoring.metric_specs import INGEST_TABLE, SERVE_TABLE, TABLE
from livesegments.monitoring.series import Series

FILE = Path(__file__).resolve().parents[2] / "docs" / "metrics.md"

_HEAD = """\
# Metrics

Generated from `livesegments/monitoring/metric_specs.py` by `make docs`. A worker exposes these at
`:9108/metrics`, each with the prefix `livesegments_`, in addition to `process_*` (memory, CPU,
start time). Every series exists from the start, for every value of its labels; those of a partition
exist while the worker owns it. No label contains a customer. NaN means *not known yet*.

*Over workers* is the correct aggregation over several workers. Counters and values of partitions
belong to one worker and are summed. Values of the model describe the whole model as that worker
sees it: `max by (segment) (livesegments_cluster_customers)`, never `sum`.

| name | type | labels | unit | over workers | meaning |
|---|---|---|---|---|---|
"""

_ANOTHER = """
## {title}

`livesegments {command}` exposes these instead, at the same address.

| name | type | labels | unit | over processes | meaning |
|---|---|---|---|---|---|
"""

_VARYING = {
    "partition": "partitions that the worker owns",
    "source": "the names in SOURCES.toml",
    "segment": "ids of the segments",
    "from": "ids of the segments, none",
    "to": "ids of the segments, none",
    "feature": "features of the segmentation",
}
_LABELS = """
## Values of labels

| label | values |
|---|---|
"""


def document() -> str:
    """Return the contents of the page."""
    labels: dict[str, dict[str, None]] = {}
    for series in (*TABLE, *INGEST_TABLE, *SERVE_TABLE):
        for label in series.labels:
            if series.type != "info":
                told = _VARYING.get(label)
                values = (told,) if told else series.values_of(label) or ()
                labels.setdefault(label, {}).update(dict.fromkeys(values))
    listed = "".join(f"| {label} | {', '.join(values)} |\n" for label, values in labels.items())
    ingest = _ANOTHER.format(title="Sources", command="ingest")
    serve = _ANOTHER.format(title="Pages and API", command="serve")
    tables = ((_HEAD, TABLE), (ingest, INGEST_TABLE), (serve, SERVE_TABLE))
    found = "".join(head + "".join(map(_row, table)) for head, table in tables)
    return found + _LABELS + listed


def _row(series: Series) -> str:
    labels = ", ".join(series.labels)
    return (
        f"| `{series.name}` | {series.type} | {labels} | {series.unit} | {series.over_workers} |"
        f" {series.meaning} |\n"
    )


if __name__ == "__main__":
    (Path(sys.argv[1]) if len(sys.argv) > 1 else FILE).write_text(document())
