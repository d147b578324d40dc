"""``/readyz`` names the source that is away."""

from unittest.mock import Mock

import duckdb
import pytest
from kafka.errors import KafkaConnectionError

from livesegments.serve.app import Sources


@pytest.mark.parametrize(
    ("trouble", "missing"),
    [(None, []), (KafkaConnectionError(), ["kafka"]), (duckdb.IOException("disk"), ["history"])],
)
def test_it_names_what_fails(trouble: Exception | None, missing: list[str]) -> None:
    sources = object.__new__(Sources)
    sources.follower = Mock(trouble=trouble, ready=True)
    sources.current = Mock(trouble=None)
    assert [name for name, holds in sources.readiness().items() if not holds] == missing
