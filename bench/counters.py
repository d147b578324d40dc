"""What a worker tells of itself at ``/metrics``: how much it has done, and where its time went."""

import urllib.request
from contextlib import suppress
from dataclasses import dataclass

from prometheus_client.parser import text_string_to_metric_families

from livesegments.embedded import LOOPBACK


@dataclass(frozen=True, slots=True)
class Counted:
    """What a worker's counters stood at: records taken, rounds done, seconds in each stage."""

    records: float
    rounds: float
    stages: dict[str, float]

    @classmethod
    def of(cls, exposition: str) -> "Counted":
        """Read them off a page of metrics."""
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
        """Return what has been added."""
        stages = {name: value - before.stages[name] for name, value in self.stages.items()}
        return Counted(self.records - before.records, self.rounds - before.rounds, stages)


def counted_by(port: int) -> Counted:
    """Return what the worker at a port has counted, nothing while it starts."""
    with (
        suppress(OSError),
        urllib.request.urlopen(f"http://{LOOPBACK}:{port}/metrics", timeout=10) as page,
    ):
        return Counted.of(page.read().decode())
    return Counted(0, 0, {})
