"""The demo's screen is the live view below the progress of the year."""

import io

import pytest
from rich.cells import cell_len
from rich.console import Console

from livesegments.analysis.watch.snapshot import Snapshot
from livesegments.demo.summary import Progress
from tests.livesegments.analysis.watch.test_watch import BUSY, NOTHING


class Watch:
    """A live view in a given state."""

    def __init__(self, seen: Snapshot) -> None:
        self._seen = seen

    def snapshot(self) -> Snapshot:
        return self._seen


def drawn(snapshot: Snapshot, width: int, height: int) -> list[str]:
    progress = Progress.__new__(Progress)
    progress.watch = Watch(snapshot)  # type: ignore[assignment]
    console = Console(
        record=True, width=width, height=height, file=io.StringIO(), force_terminal=True
    )
    console.print(progress)
    return console.export_text().rstrip("\n").split("\n")


@pytest.mark.parametrize(("width", "height"), [(80, 24), (120, 40)])
@pytest.mark.parametrize("snapshot", [BUSY, NOTHING], ids=["busy", "nothing"])
def test_the_screen_fits_the_terminal(snapshot: Snapshot, width: int, height: int) -> None:
    lines = drawn(snapshot, width, height)
    assert len(lines) <= height
    assert max(map(cell_len, lines)) <= width


def test_the_first_line_is_the_day_of_the_year_or_what_the_warm_up_waits_for() -> None:
    assert drawn(BUSY, 80, 24)[0].startswith("01 Mar 2026")
    assert drawn(NOTHING, 80, 24)[0].startswith("warm-up: 2,000 customers")
    assert drawn(BUSY, 80, 24)[1].startswith("Livesegments: group")
    assert "$127" in "\n".join(drawn(BUSY, 80, 24))
