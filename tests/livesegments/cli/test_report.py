"""Lines that the report's command prints."""

from livesegments.cli.report import notes
from tests.livesegments.analysis.pages.made import report


def test_lists_without_anybody_are_explained() -> None:
    made = report()
    refused = made | {"targets": [each | {"consenting": 0} for each in made["targets"]]}
    written = {"target-families.csv": 0}
    assert "no customer in a segment is known to consent" in [*notes(refused, written)][-1]
    for others in (notes(made, written), notes(refused, {})):
        assert not any("consent" in each for each in others)


def test_ids_of_guests_are_named() -> None:
    assert "placeholder 'guest' has 12.0%" in next(notes(report(), {}))
