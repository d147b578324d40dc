"""A page as a real browser lays it out: headless Chromium."""

from dataclasses import dataclass
from pathlib import Path

from playwright.sync_api import Browser

from tests.livesegments.serve.browser import tab

_LAYOUT = """(width) => {
  const wide = [...document.body.querySelectorAll("*")].filter((each) =>
    each.getBoundingClientRect().right > width + 0.5 && !each.closest(".scroll *, caption"));
  const style = getComputedStyle(document.body);
  return {
    width: document.documentElement.scrollWidth,
    beyond: wide.map((each) => `${each.tagName}.${each.className}`),
    back: style.backgroundColor,
    color: style.color,
    tables: document.querySelectorAll("table").length,
  };
}"""


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


def lay_out(browser: Browser, page: str, folder: Path, *, width: int, dark: bool) -> Layout:
    """Open a page in a window of some width, in the light or dark scheme."""
    file = folder / "page.html"
    file.write_text(page, "utf-8")
    size = {"width": width, "height": 900}
    with tab(browser, dark=dark, size=size) as opened:
        opened.page.goto(file.as_uri())
        found = opened.page.evaluate(_LAYOUT, width)
    return Layout(**found, console=opened.complaints)
