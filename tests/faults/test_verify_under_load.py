"""The verifier while workers process 300 purchases per second: it ends without a finding."""

import time
from datetime import UTC, datetime

import numpy as np
import pytest

from livesegments.operations.verify import Report, verify
from tests.sending import Feed
from tests.service import Event, Service, purchase

pytestmark = pytest.mark.servers

CUSTOMERS = 2_000
SECONDS = 60.0
"""It normally takes a few; a verifier that never ends fails here."""


def bought(n: int, first: int = 0) -> list[Event]:
    """Return current purchases, some of which move customers between segments."""
    rng = np.random.default_rng(first)
    now = datetime.now(UTC).isoformat()
    return [
        purchase(
            f"c{int(CUSTOMERS * rng.random() ** 2):04d}",
            now,
            round(float(rng.lognormal(3, 1.5)) + 0.01, 2),
            event_id=f"e{first + i}",
        )
        for i in range(n)
    ]


def test_it_ends_and_reports_nothing_under_steady_traffic(service: Service) -> None:
    service.start()
    service.send(bought(5_000))
    service.wait_for(service.has_model, "the model is known")
    with Feed(service, bought, every=0.1, portion=30, first=5_000) as feed:
        feed.go_on(300)
        for _ in range(2):
            before, began = feed.sent, time.monotonic()
            report: Report = verify(
                service.client, service.config, "livesegments", event_clock=True
            )
            took = time.monotonic() - began
            assert not report.faults, report.lines()
            assert took < SECONDS
            assert feed.sent > before
            checked = {check.name: check.cases for check in report.checks}
            assert checked["records"] >= 1_000
            assert checked["state"] >= 1_000
    service.wait()
    service.verified()
