"""Programs that the tests of this package need on the machine."""

import shutil
from collections.abc import Callable

import pytest

needs_promtool: Callable[[Callable[..., None]], Callable[..., None]] = (
    (lambda test: test) if shutil.which("promtool") else pytest.mark.servers
)
"""Without promtool the check is among the tests that need installed programs; it never skips."""
