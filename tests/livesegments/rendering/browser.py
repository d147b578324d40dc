"""A page as a real browser lays it out: headless Chromium."""

import html
import json
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from livesegments.local_servers import ServerError

PROGRAMS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
# The page itself runs no script. It is shown in a frame as wide as a phone or a desktop, inside a
# page whose script inspects it: Chromium opens no window narrower than 500 pixels.
_AROUND = """<!doctype html><meta charset="utf-8">
<iframe id="frame" style="border:0;width:{width}px;height:900px" srcdoc="{page}"></iframe>
<pre id="found"></pre>
<script>
const frame = document.getElementById("frame");
frame.onload = () => {{
  const page = frame.contentDocument;
  const wide = [...page.body.querySelectorAll("*")].filter((each) =>
    each.getBoundingClientRect().right > {width} + 0.5 && !each.closest(".scroll *, caption"));
  const style = frame.contentWindow.getComputedStyle(page.body);
  document.getElementById("found").textContent = JSON.stringify({{
    width: page.documentElement.scrollWidth,
    beyond: wide.map((each) => `${{each.tagName}}.${{each.className}}`),
    back: style.backgroundColor,
    color: style.color,
    tables: page.querySelectorAll("table").length,
  }});
}};
</script>"""


@dataclass(frozen=True, slots=True)
class Layout:
    """Layout of a page in the browser.

    Attributes
    ----------
    width
        Of the whole content, in pixels.
    beyond
        Elements that overflow the window, except inside tables that scroll.
    back, color
        Of the page, as ``rgb(r, g, b)``.
    tables
        Number of tables.
    console
        Messages of the browser: errors, and violations of the page's policy.
    """

    width: int
    beyond: list[str]
    back: str
    color: str
    tables: int
    console: list[str]


def is_a_snap(program: Path) -> bool:
    """Return whether a program is a snap, as on Ubuntu: a snap cannot read temporary folders."""
    if program.resolve().name == "snap" or program.resolve().is_relative_to("/snap"):
        return True
    with program.open("rb") as file:
        return b"/snap/" in file.read(4096)


def lay_out(page: str, folder: Path, *, width: int, dark: bool) -> Layout:
    """Open a page in a window of some width, in the light or dark scheme.

    Raises
    ------
    ServerError
        If there is no Chromium.
    """
    programs = filter(None, map(shutil.which, PROGRAMS))
    program = next((each for each in programs if not is_a_snap(Path(each))), None)
    if program is None:
        raise ServerError("no chromium that can read /tmp: run scripts/install-servers")
    around = folder / "around.html"
    around.write_text(_AROUND.format(width=width, page=html.escape(page)), "utf-8")
    done = subprocess.run(
        [
            program,
            "--headless",
            "--no-sandbox",  # containers run as root
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--enable-logging=stderr",
            f"--user-data-dir={folder / 'browser'}",
            f"--blink-settings=preferredColorScheme={0 if dark else 1}",
            f"--window-size={max(width, 500)},1000",
            "--virtual-time-budget=5000",
            "--dump-dom",
            around.as_uri(),
        ],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    found = re.search(r'<pre id="found">(.+?)</pre>', done.stdout, re.DOTALL)
    assert found is not None, done.stderr[-2_000:]
    console = [line for line in done.stderr.splitlines() if "CONSOLE" in line]
    return Layout(**json.loads(html.unescape(found[1])), console=console)
