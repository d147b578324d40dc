"""Headless Chromium that opens served pages, and notes whatever it complains about."""

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, Page, ViewportSize, expect, sync_playwright

from livesegments.local_servers import ServerError

PROGRAMS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
PATIENCE_MS = 30_000
PHONE: ViewportSize = {"width": 375, "height": 800}
DESK: ViewportSize = {"width": 1_280, "height": 900}
_AXE = files("axe_playwright_python").joinpath("axe.min.js")


@dataclass
class Tab:
    """A tab of the browser.

    Attributes
    ----------
    page
        Its page.
    complaints
        Messages of the console, errors of scripts, and violations of the page's policy.
    addresses
        Of all requests.
    """

    page: Page
    complaints: list[str] = field(default_factory=list)
    addresses: list[str] = field(default_factory=list)

    def violations(self, *, contrast: bool = True) -> list[str]:
        """Return what axe-core finds inaccessible; contrast takes it most of its time."""
        # Runs in a world of its own, as extensions do, which the page's policy does not bind.
        session = self.page.context.new_cdp_session(self.page)
        frame = session.send("Page.getFrameTree")["frameTree"]["frame"]["id"]
        world = session.send("Page.createIsolatedWorld", {"frameId": frame})["executionContextId"]

        def run(expression: str) -> Any:
            found = session.send(
                "Runtime.evaluate",
                {
                    "expression": expression,
                    "contextId": world,
                    "awaitPromise": True,
                    "returnByValue": True,
                },
            )
            assert "exceptionDetails" not in found, found["exceptionDetails"]
            return found["result"].get("value")

        run(_AXE.read_text("utf-8") + "; 0")
        rules = {"color-contrast": {"enabled": contrast}}
        checked = run(f"axe.run({json.dumps({'resultTypes': ['violations'], 'rules': rules})})")
        session.detach()
        assert len(checked["passes"]) > 10
        return [
            f"{each['id']}: {each['nodes'][0]['html']}: {each['nodes'][0]['failureSummary']}"
            for each in checked["violations"]
        ]


def is_a_snap(program: Path) -> bool:
    """Return whether a program is a snap, as on Ubuntu: a snap cannot read temporary folders."""
    if program.resolve().name == "snap" or program.resolve().is_relative_to("/snap"):
        return True
    with program.open("rb") as file:
        return b"/snap/" in file.read(4096)


@contextmanager
def chromium() -> Iterator[Browser]:
    """Run a browser.

    Raises
    ------
    ServerError
        If there is no Chromium.
    """
    programs = filter(None, map(shutil.which, PROGRAMS))
    program = next((each for each in programs if not is_a_snap(Path(each))), None)
    if program is None:
        raise ServerError("no chromium that can read /tmp: run scripts/install-servers")
    with sync_playwright() as playwright:
        # Containers run as root, for whom Chromium has no sandbox.
        arguments = ["--no-sandbox", "--disable-gpu"]
        browser = playwright.chromium.launch(executable_path=program, args=arguments)
        expect.set_options(timeout=PATIENCE_MS)
        yield browser
        browser.close()


@contextmanager
def tab(browser: Browser, *, dark: bool = False, size: Any = DESK, **options: Any) -> Iterator[Tab]:
    """Open a tab of a context of its own, without cookies."""
    scheme: Any = "dark" if dark else "light"
    context = browser.new_context(color_scheme=scheme, viewport=size, **options)
    found = Tab(context.new_page())
    found.page.on("console", lambda message: found.complaints.append(message.text))
    found.page.on("pageerror", lambda error: found.complaints.append(str(error)))
    found.page.on("request", lambda request: found.addresses.append(request.url))
    yield found
    context.close()
