"""Worker counters scraped from ``/metrics``: work done and time spent in each stage."""

import urllib.request
from contextlib import suppress
from dataclasses import dataclass

from prometheus_client.parser import text_string_to_metric_families

from livesegments.local_servers import LOOPBACK


@dataclass(frozen=True, slots=True)
class Counted:
    """A worker's counters: records consumed, micro-batches committed, seconds in each stage."""

    records: float
    rounds: float
    stages: dict[str, float]

    @classmethod
    def of(cls, exposition: str) -> "Counted":
        """Parse them from a page of metrics."""
        samples = [s for f in text_string_to_metric_families(exposition) for s in f.samples]
        spent = "livesegments_batch_duration_seconds"
        return cls(
            sum(s.value for s in samples if s.name == "livesegments_events_consumed_total"),
            sum(
                s.value
                for s in samples
                if s.name == f"{spent}_count" and s.labels["stage"] == "decode"
            ),
            {s.labels["stage"]: s.value for s in samples if s.name == f"{spent}_sum"},
        )

    def since(self, before: "Counted") -> "Counted":
        """Return the difference to an earlier reading."""
        stages = {name: value - before.stages[name] for name, value in self.stages.items()}
        return Counted(self.records - before.records, self.rounds - before.rounds, stages)


def counted_by(port: int) -> Counted:
    """Return the counters of the worker at a port; empty while it starts."""
    with (
        suppress(OSError),
        urllib.request.urlopen(f"http://{LOOPBACK}:{port}/metrics", timeout=10) as page,
    ):
        return Counted.of(page.read().decode())
    return Counted(0, 0, {})
