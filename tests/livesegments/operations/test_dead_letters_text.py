"""Arguments and output of ``livesegments dead-letters``, without servers."""

import pytest
from typer.testing import CliRunner

from livesegments.cli import app
from livesegments.cli.dead_letters import _text
from livesegments.rendering.formats import printable


@pytest.mark.parametrize("since", ["99999999999d", "9999999d", "²d", "5w", "d", "", "yesterday"])
def test_a_since_that_is_no_time_is_told_in_a_line(since: str) -> None:
    done = CliRunner().invoke(app, ["dead-letters", "list", "--since", since])
    assert done.exit_code == 2
    assert f"--since is {since!r}; it can be 30m" in done.output


def test_what_a_record_holds_does_nothing_to_a_terminal() -> None:
    hostile = "\x1b]0;title\x07\x1b[2J\r\n\u202e\u2028é😀".encode() + b"\xff"
    assert printable(str(_text(hostile))) == (
        "\\x1b]0;title\\x07\\x1b[2J\\r\\n\\u202e\\u2028é😀\\xff"
    )
