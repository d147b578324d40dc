"""The command line for other programs and terminals: pipes, colours, fast help."""

import os
import pty
import subprocess
import sys

import pytest

from livesegments import __version__
from livesegments.local_servers import free_ports
from tests.livesegments.cli.test_cli import COMMAND, environment


def livesegments(*arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, *arguments],
        env=environment(**settings),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def nowhere() -> str:
    [port] = free_ports(1)
    return f"127.0.0.1:{port}"


def test_help_does_not_wait_for_what_only_commands_need() -> None:
    program = (
        "import atexit, sys, livesegments.cli\n"
        "heavy = {'kafka', 'redis', 'numpy', 'pandas', 'river', 'pydantic', 'structlog', 'rich'}\n"
        "atexit.register(lambda: print(sorted(heavy & set(sys.modules)), file=sys.stderr))\n"
        "sys.argv = ['livesegments', '--help']\n"
        "livesegments.cli.main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True
    )
    assert "Usage: livesegments" in done.stdout
    assert done.stderr.strip() == "[]"


@pytest.mark.parametrize("arguments", [("version",), ("--version",)])
def test_the_version_is_shown(arguments: tuple[str, ...]) -> None:
    done = livesegments(*arguments)
    assert (done.returncode, done.stdout.strip()) == (0, __version__)


def test_at_debug_level_the_same_failure_shows_where_it_came_from() -> None:
    done = livesegments("export", "x.csv", REDIS_URL=f"redis://{nowhere()}/0", LOG_LEVEL="debug")
    assert done.returncode == 1
    assert "Traceback" in done.stderr


def test_a_reader_that_has_seen_enough_is_no_failure() -> None:
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run(
        [*COMMAND, "settings", "--json"],
        env=environment(),
        stdout=write,
        stderr=subprocess.PIPE,
        timeout=60,
        check=False,
    )
    os.close(write)
    assert (done.returncode, done.stderr) == (0, b"")


@pytest.mark.parametrize(("no_color", "coloured"), [("", True), ("1", False)])
def test_a_terminal_has_colours_unless_they_are_not_wanted(no_color: str, coloured: bool) -> None:
    master, slave = pty.openpty()
    settings = {"KAFKA_BOOTSTRAP_SERVERS": nowhere(), "REDIS_URL": f"redis://{nowhere()}/0"}
    done = subprocess.run(
        [*COMMAND, "doctor"],
        env={**environment(**settings), "NO_COLOR": no_color, "TERM": "xterm"},
        stdin=slave,
        stdout=slave,
        stderr=slave,
        timeout=60,
        check=False,
    )
    os.close(slave)
    shown = os.read(master, 65_536)
    os.close(master)
    assert done.returncode == 1
    assert b"kafka" in shown
    assert (b"\x1b[" in shown) is coloured
