"""The schema registry, one for the whole run."""

from collections.abc import Iterator

import pytest

from tests.servers import RegistryServer


@pytest.fixture(scope="session")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RegistryServer]:
    """Apicurio Registry; it holds schemas of earlier tests."""
    with RegistryServer(tmp_path_factory.mktemp("registry")) as server:
        yield server
