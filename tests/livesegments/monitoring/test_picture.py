"""Pictures of dashboards show every panel with the data of its own queries."""

import json
import math
from collections.abc import Sequence
from pathlib import Path
from xml.etree import ElementTree as Xml

import pytest

from tests.livesegments.monitoring.picture import Series, picture, text, unrolled
from tests.livesegments.monitoring.test_dashboards import FOLDER, ROOT

SEGMENTS = ("families", "retirees")


def answer(expression: str) -> Sequence[Series]:
    points = [(1_000.0 + i, float(i % 7)) for i in range(20)]
    points += [(1_020.0, math.nan), (1_021.0, 41.0)]
    return [Series({"from": a, "to": b, "segment": a}, points) for a in SEGMENTS for b in SEGMENTS]


@pytest.mark.parametrize("file", sorted(FOLDER.glob("*.json")), ids=lambda file: file.stem)
def test_every_panel_is_drawn_with_its_data(file: Path) -> None:
    dashboard = json.loads(file.read_text())
    drawn = picture(dashboard, answer)
    shown = list(Xml.fromstring(drawn).itertext())  # noqa: S314 - our own
    assert {panel["title"] for panel in unrolled(dashboard["panels"])} <= set(shown)
    assert "no data" not in shown
    assert "nan" not in drawn
    if file.stem == "business":
        assert shown.count("41") >= len(SEGMENTS) ** 2  # the matrix
        assert set(SEGMENTS) <= set(shown)


def test_a_panel_without_data_says_so() -> None:
    dashboard = json.loads((FOLDER / "operations.json").read_text())
    panels = [panel for panel in dashboard["panels"] if panel["type"] != "row"]
    assert picture(dashboard, lambda _: []).count("no data") == len(panels)


def test_the_docs_have_a_picture_of_each_dashboard() -> None:
    for file in FOLDER.glob("*.json"):
        committed = ROOT / "docs" / "dashboards" / f"{file.stem}.svg"
        assert committed.stat().st_size < 150_000
        shown = set(Xml.fromstring(committed.read_text()).itertext())  # noqa: S314 - our own
        assert {
            panel["title"] for panel in unrolled(json.loads(file.read_text())["panels"])
        } <= shown


@pytest.mark.parametrize(
    ("value", "unit", "said"),
    [
        *((0.123, "percentunit", "12.3%"), (0.3, "s", "300 ms"), (90, "s", "90 s")),
        *((1_450, "cps", "1.45 k/s"), (2.57e8, "bytes", "257 MB"), (0, "short", "0")),
    ],
)
def test_values_are_read_in_their_unit(value: float, unit: str, said: str) -> None:
    assert text(value, unit) == said
