"""What the tests of this room need on the machine."""

import shutil
from collections.abc import Callable

import pytest

needs_promtool: Callable[[Callable[..., None]], Callable[..., None]] = (
    (lambda test: test) if shutil.which("promtool") else pytest.mark.servers
)
"""Without promtool a check belongs to the tests that need something installed; it never skips."""
