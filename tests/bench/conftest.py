"""Brokers of benches whose figures mean nothing."""

import pytest

from tests.servers import kafka_server


@pytest.fixture(autouse=True)
def brokers_start_quickly(monkeypatch: pytest.MonkeyPatch) -> None:
    """Java compiles for the broker as it does in the other tests."""
    monkeypatch.setattr(kafka_server, "MEASURED", kafka_server.QUICK_START)
