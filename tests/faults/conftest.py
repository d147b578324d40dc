"""A service under load."""

from collections.abc import Callable

import pytest

from tests.load import load
from tests.service import Event


@pytest.fixture
def make_load() -> Callable[..., list[Event]]:
    """Generator of the load."""
    return load
