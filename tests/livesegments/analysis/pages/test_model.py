"""The page of the model."""

from livesegments.analysis.pages.model import generations
from livesegments.history.database import History, Identity
from tests.segmentations import PERSONAS


def test_before_the_first_fit_there_is_no_generation() -> None:
    with History.temporary() as history:
        history.rebuild(Identity("livesegments", "", ""))
        assert generations(history.cursor(), PERSONAS) == []
