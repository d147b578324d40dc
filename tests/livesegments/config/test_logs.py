"""Logs as written by processes: one process each, for logging is configured once."""

import json
import os
import subprocess
import sys
from datetime import UTC, datetime

import pytest

PROGRAM = """
import logging, structlog
from livesegments.config import logs
from livesegments.config.settings import load
logs.configure(load())
log = structlog.get_logger()
log.debug("quiet")
log.info("owns", partitions=[0, 1])
logging.getLogger("library").warning("from %s", "a library")
try:
    1 / 0
except ZeroDivisionError:
    log.exception("ours broke")
    logging.getLogger("library").exception("theirs broke")
"""


def logged(**settings: str) -> tuple[str, str]:
    """Return the program's standard output and standard error."""
    more = {f"LIVESEGMENTS_{name}": value for name, value in settings.items()}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        env={**os.environ, **more},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return done.stdout, done.stderr


@pytest.mark.parametrize("form", ["json", "auto"])
def test_without_a_terminal_every_line_is_json_also_those_of_libraries(form: str) -> None:
    out, err = logged(LOG_FORMAT=form)
    assert out == ""
    lines = [json.loads(line) for line in err.splitlines()]
    assert [(line["level"], line["event"]) for line in lines] == [
        ("info", "owns"),
        ("warning", "from a library"),
        ("error", "ours broke"),
        ("error", "theirs broke"),
    ]
    assert lines[0]["partitions"] == [0, 1]
    assert lines[1]["logger"] == "library"
    for line in lines[2:]:
        assert "ZeroDivisionError" in line["exception"]
    for line in lines:
        assert datetime.fromisoformat(line["timestamp"]).utcoffset() == UTC.utcoffset(None)


def test_lines_for_people_have_no_colours_where_there_is_no_terminal() -> None:
    _, err = logged(LOG_FORMAT="console")
    assert "\x1b[" not in err
    assert "owns" in err.splitlines()[0]
    assert "from a library" in err.splitlines()[1]


def test_less_severe_lines_than_the_level_are_left_out() -> None:
    _, quiet = logged(LOG_LEVEL="error")
    assert {json.loads(line)["event"] for line in quiet.splitlines()} == {
        "ours broke",
        "theirs broke",
    }
    _, all_of_it = logged(LOG_LEVEL="debug")
    assert json.loads(all_of_it.splitlines()[0])["event"] == "quiet"
