"""Outputs that scripts and people rely on equal those recorded in ``golden/``.

Record them again after an intended change: ``python -m tests.livesegments.test_golden``.
"""

import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from livesegments.analysis.backtest.results import Variant
from livesegments.analysis.backtest.runner import Backtest, backtest
from livesegments.analysis.backtest.views import text as backtest_text
from livesegments.analysis.customer.text_view import text as customer_text
from livesegments.analysis.watch.views import line as watch_line
from tests.consumers.harness import RETIREE, STUDENT, profile, purchase
from tests.livesegments.analysis.backtest.shop import rows, settings, write
from tests.livesegments.analysis.customer.test_customer import searched, told, world
from tests.livesegments.analysis.pages.made import report
from tests.livesegments.analysis.watch.test_watch import BUSY, HOSTILE, NOTHING, drawn

GOLDEN = Path(__file__).parent / "golden"


def shop() -> Backtest:
    with tempfile.TemporaryDirectory() as folder:
        file = write(Path(folder, "history.csv"), rows())
        with file.open("a") as end:
            end.write("c1,2026-02-01T00:00:00Z,-5\n")
        given = Variant("as set", settings(), is_given=True)
        return backtest(file, None, [given, Variant("margin=0.5", settings(switch_margin=0.5))])


def customer() -> Any:
    some = world(
        profile("c", 1, **STUDENT, consent={"marketing": True}),
        *(purchase("c", 85 + 3 * i, 20 + i) for i in range(6)),
        profile("c", 2, **RETIREE),
    )
    return told(some, history=searched(some.changes, 500))


OUTPUTS: dict[str, Callable[[], str]] = {
    "report.json": lambda: json.dumps(report(), allow_nan=False),
    "backtest.json": lambda: json.dumps(shop()),
    "backtest.txt": lambda: backtest_text(shop()),
    "customer.json": lambda: json.dumps(customer(), indent=2),
    "customer.txt": lambda: customer_text(customer()),
    "watch.json": lambda: json.dumps(BUSY.to_dict()),
    "watch.txt": lambda: "\n".join(map(watch_line, (BUSY, HOSTILE, NOTHING))),
    "watch-80x24.txt": lambda: "\n".join(drawn(BUSY, 80, 24)),
    "watch-120x40.txt": lambda: "\n".join(drawn(BUSY, 120, 40)),
}


@pytest.mark.parametrize("name", OUTPUTS)
def test_an_output_is_as_recorded(name: str) -> None:
    recorded, made = (GOLDEN / name).read_text("utf-8"), OUTPUTS[name]()
    if name.endswith(".json"):
        same(json.loads(made), json.loads(recorded))
    else:
        assert made == recorded


def same(made: Any, recorded: Any, where: str = "$") -> None:
    """The same keys in the same order, the same types, and values equal up to rounding."""
    assert type(made) is type(recorded), where
    if isinstance(made, dict):
        assert list(made) == list(recorded), where
        for name, value in made.items():
            same(value, recorded[name], f"{where}.{name}")
    elif isinstance(made, list):
        assert len(made) == len(recorded), where
        for i, pair in enumerate(zip(made, recorded, strict=True)):
            same(*pair, f"{where}[{i}]")
    elif isinstance(made, float):
        assert made == pytest.approx(recorded, rel=1e-4), where
    else:
        assert made == recorded, where


if __name__ == "__main__":
    for name, output in OUTPUTS.items():
        (GOLDEN / name).write_text(output(), "utf-8")
