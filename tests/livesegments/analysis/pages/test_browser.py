"""The report in a real browser: phone and desktop width, light and dark scheme."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser

from livesegments.analysis.pages.report import page
from livesegments.features.segmentation import Segmentation
from tests.livesegments.analysis.pages.made import report
from tests.livesegments.rendering.browser import lay_out
from tests.livesegments.serve.browser import chromium, tab
from tests.segmentations import RFM, SIZES

pytestmark = pytest.mark.servers

PHONE, DESK = 375, 1_280


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as opened:
        yield opened


@pytest.mark.parametrize("width", [PHONE, DESK])
@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_nothing_overflows_and_the_browser_has_nothing_to_say(
    browser: Browser, tmp_path: Path, width: int, dark: bool
) -> None:
    found = lay_out(browser, page(report()), tmp_path, width=width, dark=dark)
    assert found.console == []
    assert found.beyond == []
    assert found.width <= width
    assert found.tables >= 12
    back, color = (
        sum(map(int, re.findall(r"\d+", each)[:3])) for each in (found.back, found.color)
    )
    assert (back < color) is dark


@pytest.mark.parametrize("segmentation", [RFM, *SIZES], ids=lambda each: f"k={len(each.segments)}")
def test_any_segmentation_fits_a_phone_and_is_accessible(
    browser: Browser, segmentation: Segmentation
) -> None:
    with tab(browser, size={"width": PHONE, "height": 800}) as opened:
        opened.page.set_content(page(report(segmentation)))
        # The colors of fewer segments are among those of more.
        assert opened.violations(contrast=segmentation in (RFM, SIZES[-1])) == []
        assert opened.complaints == []
        assert opened.page.evaluate("document.documentElement.scrollWidth") <= PHONE


def test_long_names_break_no_phone_and_cover_no_number(browser: Browser, tmp_path: Path) -> None:
    segments = [
        each | {"name": "Donaudampfschifffahrtsgesellschaftskapitaen " * 2}
        for each in report()["segments"]
    ]
    found = lay_out(browser, page(report(segments=segments)), tmp_path, width=PHONE, dark=False)
    assert found.beyond == []
    assert found.width <= PHONE
    with tab(browser) as opened:
        opened.page.set_content(page(report(segments=segments)))
        heads = "[...document.querySelectorAll('.heat th')]"
        assert opened.page.evaluate(f"{heads}.every((e) => e.scrollWidth <= e.clientWidth)")


def test_what_reaches_out_and_what_is_refused_is_noticed(browser: Browser, tmp_path: Path) -> None:
    spoilt = page(report()).replace(
        "<h2>", '<p style="width:60rem">too wide</p><script>1</script><h2>', 1
    )
    found = lay_out(browser, spoilt, tmp_path, width=PHONE, dark=False)
    assert found.beyond == ["P."]
    assert found.width > PHONE
    assert "Content Security Policy" in found.console[0]
