"""A regression is reported; nothing fails because of it."""

import json
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from bench import __main__ as program
from bench import guard
from bench.guard import Figure
from bench.report import Table

RATIO = Figure("speed", "ours", "ratio", "higher", 0.1, 0.5)
COST = Figure("speed", "theirs", "cost", "lower", 0.1, 2_000)


def speed(ratio: str = "0.50", cost: str = "2,000") -> Table:
    table = Table("Speed", ("", "ratio", "cost"))
    table.add("ours", ratio, "-")
    table.add("theirs", "1.00", cost)
    return table


@pytest.mark.parametrize(
    ("figure", "found", "warned"),
    [
        (RATIO, 0.46, False),
        (RATIO, 0.44, True),
        (RATIO, 0.90, False),
        (COST, 2_190, False),
        (COST, 2_210, True),
        (COST, 1_000, False),
        (COST, None, True),
        (replace(COST, value=None), 2_000, True),
    ],
)
def test_only_what_is_worse_by_more_than_the_tolerance_is_warned_of(
    figure: Figure, found: float | None, warned: bool
) -> None:
    assert figure.verdict(found).startswith("WARNING") == warned


def test_what_is_better_by_more_than_the_tolerance_is_said() -> None:
    assert "record it?" in RATIO.verdict(0.7)
    assert "record it?" not in RATIO.verdict(0.54)


def test_figures_are_found_by_row_and_column() -> None:
    assert RATIO.found(speed(ratio="48%")) == 48
    assert COST.found(speed()) == 2_000
    assert replace(RATIO, row="nobody").found(speed()) is None
    assert replace(RATIO, column="nothing").found(speed()) is None
    assert replace(RATIO, column="cost").found(speed()) is None


def test_recording_replaces_the_figures_of_that_bench_alone(tmp_path: Path) -> None:
    path = tmp_path / "expected.json"
    other = Figure("memory", "ours", "ratio", "higher", 0.1, 7)
    absent = replace(RATIO, row="nobody")
    recorded = guard.record("speed", speed(ratio="0.60"), [RATIO, COST, other, absent], path)
    assert recorded == [replace(RATIO, value=0.6), COST, other, absent]
    assert guard.load(path) == recorded


def test_the_program_compares_and_ends_well(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(guard, "load", lambda: [RATIO, COST])
    monkeypatch.setattr(program, "BENCHES", {"speed": lambda: speed(ratio="0.10")})
    monkeypatch.setattr(sys, "argv", ["bench"])
    program.main()
    *_, worse, fine = capsys.readouterr().out.splitlines()
    assert worse.strip().startswith("WARNING speed: ours, ratio: 0.1, expected 0.5")
    assert fine.strip().startswith("speed: theirs, cost")
    monkeypatch.setattr(sys, "argv", ["bench", "--json"])
    program.main()
    assert len(json.loads(capsys.readouterr().out)["compared"]) == 2


def test_every_expected_figure_is_of_a_bench() -> None:
    assert {figure.bench for figure in guard.load()} <= program.BENCHES.keys()
