"""The command line for interactive users: help, exit codes, and errors in one line."""

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.core import TyperGroup
from typer.main import get_group
from typer.testing import CliRunner

from livesegments.cli import app
from livesegments.local_servers import free_ports
from tests import processes
from tests.livesegments.analysis.backtest.shop import rows, write

COMMAND = [sys.executable, "-m", "livesegments.cli"]


def environment(**settings: str) -> dict[str, str]:
    """Return the environment with only these settings."""
    others = {k: v for k, v in os.environ.items() if not k.startswith("LIVESEGMENTS_")}
    return others | {f"LIVESEGMENTS_{name}": value for name, value in settings.items()}


def livesegments(*arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
    """Run a command with only these settings."""
    return processes.run([*COMMAND, *arguments], env=environment(**settings), timeout=60)


def commands(command: Any, *names: str) -> Iterator[tuple[list[str], Any]]:
    """Yield every command with its names."""
    yield list(names), command
    if isinstance(command, TyperGroup):
        for name, inner in command.commands.items():
            yield from commands(inner, *names, name)


def test_every_command_has_help() -> None:
    found = list(commands(get_group(app)))
    assert len(found) > 25
    for names, command in found:
        done = CliRunner().invoke(app, [*names, "--help"], prog_name="livesegments")
        assert done.exit_code == 0, names
        assert f"Usage: {' '.join(['livesegments', *names])}" in done.output
        assert "..." not in done.output.replace("ARGS]...", ""), "a sentence is cut"
        for example in re.findall("Example: .*", command.help or ""):
            assert f"  {example}\n" in done.output, "an example is broken into lines"


@pytest.mark.parametrize("command", ["run", "doctor", "verify", "settings"])
def test_a_wrong_setting_ends_with_2_and_its_name(command: str) -> None:
    done = livesegments(command, CLOCK="sundial")
    assert done.returncode == 2
    assert "LIVESEGMENTS_CLOCK" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("export", "segments.txt"), ".csv, .jsonl or .parquet"),
        (("export", "gone/all.csv"), "there is no folder gone"),
        (("export", "all.csv", "--format", "jsonl"), "is for standard output"),
        (("report", "-", "--json"), "give one of them"),
        (("report", "gone/page.html"), "there is no folder gone"),
        (("backtest", "h.csv", "--html", "gone/page.html"), "there is no folder gone"),
        (("replay", "x.csv", "--on-error", "nope"), "stop or skip"),
        (("replay", "x.csv", "--speed", "0"), "--speed"),
        (("replay", "x.csv", "--speed", "inf"), "--speed"),
        (("replay", "x.csv", "--timezone", "nope"), "--timezone: no time zone nope"),
        (("replay", "x.csv", "--timezone", "Europe"), "--timezone: no time zone Europe"),
        (("--env-file", "/nowhere.env", "settings"), "/nowhere.env: no such file"),
        (("topics", "create", "--retention-days", "30"), "window of 90 days"),
        (("segmentation", "--json", "--template"), "exclude each other"),
        (("subscribe", "--segment", "families-"), "--segment is 'families-'; it can be "),
        (("segmentation", "nowhere.toml"), "nowhere.toml: No such file"),
        (("nonsense",), "No such command"),
    ],
)
def test_wrong_usage_ends_with_2_and_says_what_is_right(
    arguments: tuple[str, ...], told: str
) -> None:
    done = livesegments(*arguments)
    assert done.returncode == 2
    assert told in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    "command", [("run",), ("subscribe",), ("topics", "create"), ("replay", __file__)]
)
def test_a_broker_that_cannot_be_reached_is_told_in_one_line(command: tuple[str, ...]) -> None:
    nowhere = f"127.0.0.1:{free_ports(1)[0]}"
    began = time.monotonic()
    done = livesegments(*command, KAFKA_BOOTSTRAP_SERVERS=nowhere)
    assert time.monotonic() - began < 60
    assert done.returncode == 1
    assert f"Kafka at {nowhere} cannot be reached" in done.stderr
    assert "LIVESEGMENTS_KAFKA_BOOTSTRAP_SERVERS" in done.stderr
    assert "Traceback" not in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_a_doctor_who_reaches_nothing_lists_both_also_for_scripts() -> None:
    kafka, redis = (f"127.0.0.1:{port}" for port in free_ports(2))
    done = livesegments(
        "doctor", "--json", KAFKA_BOOTSTRAP_SERVERS=kafka, REDIS_URL=f"redis://:hunter2@{redis}/0"
    )
    assert done.returncode == 1
    found = {each["name"]: each for each in json.loads(done.stdout)}
    assert {name: each["status"] for name, each in found.items()} == {
        "kafka": "fail",
        "redis": "fail",
    }
    assert kafka in found["kafka"]["fix"]
    assert "LIVESEGMENTS_REDIS_URL" in found["redis"]["fix"]
    assert "hunter2" not in done.stdout + done.stderr
    assert "Traceback" not in done.stderr


def test_a_store_that_cannot_be_reached_is_told(tmp_path: Path) -> None:
    nowhere = f"redis://127.0.0.1:{free_ports(1)[0]}/0"
    done = livesegments("export", str(tmp_path / "out.csv"), REDIS_URL=nowhere)
    assert done.returncode == 1
    assert "LIVESEGMENTS_REDIS_URL" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_file_that_is_missing_is_named(tmp_path: Path) -> None:
    done = livesegments("replay", str(tmp_path / "gone.csv"))
    assert done.returncode == 1
    assert "gone.csv" in done.stderr
    assert "Traceback" not in done.stderr


def test_settings_are_listed_for_scripts_without_secrets() -> None:
    done = livesegments("settings", "--json", REDIS_URL="redis://:hunter2@redis/0")
    listed = {each["name"]: each["value"] for each in json.loads(done.stdout)}
    assert listed["LIVESEGMENTS_WINDOW_DAYS"] == "90"
    assert "hunter2" not in done.stdout


def test_a_segmentation_is_shown_and_read_back_from_its_template(tmp_path: Path) -> None:
    template = livesegments("segmentation", "--template").stdout
    file = tmp_path / "mine.toml"
    file.write_text(template.replace("families", "households"))
    shown = json.loads(livesegments("segmentation", "--json", SEGMENTATION=str(file)).stdout)
    assert [each["id"] for each in shown["segments"]][1] == "households"
    assert shown["features"] == ["purchases", "spend", "age", "income", "urbanicity"]
    assert "households" in livesegments("segmentation", str(file)).stdout
    assert "households" not in livesegments("segmentation", "personas").stdout
    told = livesegments("subscribe", "--segment", "families", SEGMENTATION=str(file))
    assert told.returncode == 2
    assert "households" in told.stderr


def test_a_wrong_segmentation_ends_with_2_and_names_setting_file_and_field(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    template = livesegments("segmentation", "--template").stdout
    file.write_text(template.replace("age = 0.2", "age = nan"))
    done = livesegments("run", SEGMENTATION=str(file))
    assert done.returncode == 2
    assert "LIVESEGMENTS_SEGMENTATION" in done.stderr
    assert str(file) in done.stderr
    assert "[[segment]] 2, position.age" in done.stderr


def test_a_personas_file_ends_with_2_and_says_where_it_belongs() -> None:
    done = livesegments("run", PERSONAS_FILE="old.toml")
    assert done.returncode == 2
    assert "set LIVESEGMENTS_SEGMENTATION=old.toml" in done.stderr
    assert "[[segment]]" in done.stderr


def test_a_backtest_needs_no_servers_and_writes_a_page(tmp_path: Path) -> None:
    file = write(tmp_path / "history.csv", [*rows(), ("late", "2205-01-01T00:00:00Z", 5.0)])
    page = tmp_path / "report.html"
    small = {"WINDOW_DAYS": "20", "TILES": "10", "WARMUP_CUSTOMERS": "30"}
    done = livesegments(
        *("backtest", str(file), "--json", "--compare", "margin=0,0.15", "--html", str(page)),
        **small,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert [(each["label"], each["is_given"]) for each in found["outcomes"]] == [
        ("margin=0", False),
        ("margin=0.15", True),
    ]
    assert found["data"]["rejected"] == {"future_dated": 1}
    assert page.read_text().startswith("<!doctype html>")
    done = livesegments("backtest", str(file), WARMUP_CUSTOMERS="1000")
    assert done.returncode == 1
    assert "LIVESEGMENTS_WARMUP_CUSTOMERS" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (("gone.csv",), 1, "gone.csv"),
        (("h.csv", "--compare", "margin=9"), 2, "LIVESEGMENTS_SWITCH_MARGIN"),
        (("h.csv", "--compare", "speed=9"), 2, "NAME is one of margin"),
        (("h.csv", "--timezone", "nope"), 2, "no time zone nope"),
    ],
)
def test_a_wrong_backtest_is_told_in_one_line(
    arguments: tuple[str, ...], code: int, told: str
) -> None:
    done = livesegments("backtest", *arguments)
    assert done.returncode == code
    assert told in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
