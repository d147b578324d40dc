"""Colours are distinguishable and readable, light and dark (WCAG 2.2, 1.4.3 and 1.4.11)."""

import re
from importlib.resources import files

import pytest

from livesegments.rendering.plots import COLORS

RGB = tuple[float, float, float]

STYLE = files("livesegments.rendering").joinpath("page.css").read_text()
LIGHT, DARK = (
    dict(re.findall(r"--([a-z0-9-]+): ([#0-9a-f%]+);", block))
    for block in re.findall(r":root \{(.*?)\}", STYLE, re.DOTALL)
)
PALETTES = pytest.mark.parametrize("palette", [LIGHT, DARK], ids=["light", "dark"])
TEXT, MARK = 4.5, 3.0


def rgb(color: str) -> RGB:
    red, green, blue = (int(color[i : i + 2], 16) / 255 for i in (1, 3, 5))
    return red, green, blue


def mixed(color: RGB, back: RGB, share: float) -> RGB:
    """Return the result of `color-mix(in srgb, color share, transparent)` on a background."""
    red, green, blue = (c * share + b * (1 - share) for c, b in zip(color, back, strict=True))
    return red, green, blue


def contrast(one: RGB, other: RGB) -> float:
    darker, lighter = sorted(map(luminance, (one, other)))
    return (lighter + 0.05) / (darker + 0.05)


def luminance(color: RGB) -> float:
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in color]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def test_contrast_is_that_of_the_standard() -> None:
    assert contrast(rgb("#000000"), rgb("#ffffff")) == pytest.approx(21)
    assert contrast(rgb("#777777"), rgb("#ffffff")) == pytest.approx(4.48, abs=0.01)


@PALETTES
@pytest.mark.parametrize(
    ("text", "back"),
    [
        *((text, back) for text in ("text", "dim") for back in ("back", "panel")),
        ("warn", "warn-back"),
    ],
)
def test_text_can_be_read(palette: dict[str, str], text: str, back: str) -> None:
    assert contrast(rgb(palette[text]), rgb(palette[back])) >= TEXT


@PALETTES
@pytest.mark.parametrize("shade", ["accent", "c1"])
def test_numbers_can_be_read_in_the_darkest_cell_of_a_heat_table(
    palette: dict[str, str], shade: str
) -> None:
    share = float(palette["heat"].rstrip("%")) / 100
    cell = mixed(rgb(palette[shade]), rgb(palette["back"]), share)
    assert contrast(rgb(palette["text"]), cell) >= TEXT


@PALETTES
@pytest.mark.parametrize("mark", [*COLORS, "accent"])
@pytest.mark.parametrize("back", ["back", "panel"])
def test_marks_stand_out(palette: dict[str, str], mark: str, back: str) -> None:
    assert contrast(rgb(palette[mark]), rgb(palette[back])) >= MARK


def test_the_dark_has_every_color_of_the_light() -> None:
    assert DARK.keys() == LIGHT.keys()
