"""The contract's models are imported from the package, and only when they are used."""

import subprocess
import sys

import pytest

from livesegments import contracts


@pytest.mark.parametrize("name", contracts.__all__)
def test_each_model_is_exported(name: str) -> None:
    assert getattr(contracts, name).__name__ == name


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'Order'"):
        _ = contracts.Order


def test_the_topics_alone_import_no_pydantic() -> None:
    program = "import sys, livesegments.contracts.topics; print('pydantic' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
    assert done.stdout == b"False\n"
