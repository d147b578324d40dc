"""The script that installs the tests' servers, on a system whose Chromium is a snap."""

import os
import subprocess
from pathlib import Path

import pytest

from tests.livesegments.serve.browser import is_a_snap

SCRIPT = Path(__file__).resolve().parents[2] / "scripts/install-servers"
SNAP = '#!/bin/sh\nexec /snap/bin/chromium "$@"\n'
SAYS_NOTHING = "#!/bin/sh\nexit 0\n"
OTHERS = ("mvn", "redis-server", "psql", "initdb", "prometheus", "promtool", "openssl", "apt-get")


@pytest.fixture
def ubuntu(tmp_path: Path) -> Path:
    """A folder of programs as on Ubuntu: everything is there but a browser that is no snap."""
    programs = {
        **dict.fromkeys(OTHERS, SAYS_NOTHING),
        "id": "#!/bin/sh\necho 0\n",
        "java": "#!/bin/sh\necho 'openjdk version \"21.0.1\"' >&2\n",
        "apt-cache": "#!/bin/sh\necho 'Description: Transitional package - chromium snap'\n",
        "chromium-browser": SNAP,
    }
    for name, text in programs.items():
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o755)
    for name in ("sh", "sed", "grep", "head", "readlink", "cat", "dirname"):
        (tmp_path / name).symlink_to(f"/usr/bin/{name}")
    return tmp_path


def run(programs: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["/bin/sh", str(SCRIPT)],
        env={**os.environ, "PATH": str(programs)},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


def test_a_snap_is_no_browser_and_the_message_names_another_one(ubuntu: Path) -> None:
    assert is_a_snap(ubuntu / "chromium-browser")
    done = run(ubuntu)
    assert done.returncode == 1
    assert "Google Chrome" in done.stderr


def test_another_browser_beside_the_snap_is_found(ubuntu: Path) -> None:
    chrome = ubuntu / "google-chrome"
    chrome.write_text("#!/bin/sh\nexec /opt/google/chrome/chrome\n")
    chrome.chmod(0o755)
    assert not is_a_snap(chrome)
    done = run(ubuntu)
    assert (done.returncode, done.stderr) == (0, "")
