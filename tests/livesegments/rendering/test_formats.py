"""Numbers as people write them."""

import pytest

from livesegments.rendering.formats import nearer


@pytest.mark.parametrize(
    ("share", "text"),
    [
        (0.14999, "14.9% nearer"),
        (-0.264, "26% farther"),
        (-2e9, "over 100% farther"),  # of a customer next to the own centroid
    ],
)
def test_the_runner_up_is_nearer_or_farther_by_a_readable_share(share: float, text: str) -> None:
    assert nearer(share) == text
