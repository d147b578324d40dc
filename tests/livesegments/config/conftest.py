"""Settings of the tests alone."""

import os

import pytest


@pytest.fixture(autouse=True)
def nothing_set(monkeypatch: pytest.MonkeyPatch) -> None:
    """Remove the settings, and AWS's credentials, from the environment."""
    for name in list(os.environ):
        if name.startswith(("LIVESEGMENTS_", "AWS_")):
            monkeypatch.delenv(name)
