"""The same results for a terminal and as a page."""

import json
import re
from pathlib import Path

import pytest

from livesegments.analysis.backtest.results import Variant
from livesegments.analysis.backtest.runner import Backtest, backtest, shown
from livesegments.analysis.backtest.views import inertia, page, text
from tests.livesegments.analysis.backtest.shop import rows, settings, write
from tests.livesegments.rendering.elements import Elements


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Backtest:
    file = write(tmp_path_factory.mktemp("shop") / "history.csv", rows())
    with file.open("a") as end:
        end.write("<script>,2026-02-01T00:00:00Z,-5\n")
    others = [Variant(f"margin={m}", settings(switch_margin=m)) for m in (0.0, 0.5)]
    return backtest(file, None, [Variant("as set", settings(), is_given=True), *others])


def test_the_terminal_has_all_in_80_columns(found: Backtest) -> None:
    whole = text(found)
    assert max(map(len, whole.splitlines())) <= 80
    for segment in shown(found)["segments"]:
        assert segment["name"][:20] in whole
    for wanted in ("side by side", "margin=0.5", "as set *", "rows rejected: amount", "Stability"):
        assert wanted in whole
    assert "how customers buy, not who they are" in whole.replace("\n", " ")


def test_the_page_is_whole_and_names_everything(found: Backtest) -> None:
    elements = Elements(page(found))
    for segment in shown(found)["segments"]:
        assert elements.text.count(segment["name"]) >= 4
    assert "not who they are" in elements.text
    assert elements.names.count("h1") == 1
    assert elements.names.count("svg") == 3
    assert ("lang", "en") in elements.attributes
    assert ("scope", "row") in elements.attributes


def test_segmentations_are_compared_on_the_page_too(found: Backtest) -> None:
    rated: dict[str, float | None] = {
        "segments": 5,
        "explained_variance": 0.61,
        "silhouette": 0.44,
        "stability": 0.97,
    }
    rated |= {"smallest_share": 0.08, "persona_distance": None}
    outcomes = [each | {"fitness": rated} for each in found["outcomes"]]
    elements = Elements(page(found | {"outcomes": outcomes, "advice": "Keep it."}))
    for wanted in ("Segmentations side by side", "0.44", "0.97", "Keep it."):
        assert wanted in elements.text
    assert "Segmentations side by side" not in Elements(page(found)).text


def test_the_page_loads_nothing_and_runs_nothing(found: Backtest) -> None:
    whole = page(found)
    elements = Elements(whole)
    assert "script" not in elements.names
    assert "http" not in re.sub(r"http-equiv", "", whole)
    assert [value for name, value in elements.attributes if name in ("src", "href")] == ["data:,"]
    assert "default-src 'none'" in whole


def test_the_page_has_colors_for_light_and_dark(found: Backtest) -> None:
    whole = page(found)
    used = set(re.findall(r"var\(--(c[0-9])\)", whole))
    light, dark = whole.split("prefers-color-scheme: dark", 1)
    for color in used:
        assert f"--{color}: #" in light
        assert f"--{color}: #" in dark


def test_every_plot_says_in_words_what_it_shows(found: Backtest) -> None:
    for svg in re.findall(r"<svg.*?</svg>", page(found), re.DOTALL):
        assert re.match(r'<svg [^>]*role="img"[^>]*aria-label="[^"]{20,}"[^>]*><title>', svg)


def test_whatever_a_name_holds_is_text_on_the_page(found: Backtest) -> None:
    hostile = '<img src=x onerror=alert(1)>&"'
    first, *others = shown(found)["segments"]
    named = shown(found) | {"segments": [first | {"name": hostile}, *others]}
    elements = Elements(page(found | {"outcomes": [named]}))
    assert "img" not in elements.names
    assert hostile in elements.text


def test_without_a_model_both_say_what_it_waits_for(tmp_path: Path) -> None:
    file = write(tmp_path / "few.csv", rows(customers=10))
    few = backtest(file, None, [Variant("as set", settings(), is_given=True)])
    assert not shown(few)["segments"]
    for view in (text(few).replace("\n", " "), Elements(page(few)).text):
        assert "fitted once 30 customers have a purchase" in view
    json.dumps(few, allow_nan=False)


def test_who_goes_to_and_fro_is_a_note_with_what_to_try(found: Backtest) -> None:
    moved = shown(found)["stability"]
    for share, says in ((0.7, True), (0.3, False)):
        one = shown(found) | {"stability": moved | {"returned": share}}
        views = text(found | {"outcomes": [one]}), page(found | {"outcomes": [one]})
        assert all(("dwell=0,14d,30d" in each) is says for each in views)


def test_without_features_of_the_profile_nothing_is_unknown(found: Backtest) -> None:
    bought = shown(found) | {"unknown": {"purchases": 0.0, "spend": 0.0}}
    assert "current customers: nothing" in text(found | {"outcomes": [bought]})


def test_where_all_customers_are_the_same_both_say_so(tmp_path: Path) -> None:
    same = [(f"c{i}", f"2026-01-01T{i % 24:02}:00:00Z", 5.0) for i in range(40)]
    file = write(tmp_path / "same.csv", same)
    alike = backtest(file, None, [Variant("as set", settings(), is_given=True)])
    for view in (text(alike).replace("\n", " "), Elements(page(alike)).text):
        assert "all of 40 customers are the same in purchases, spend" in view


def test_a_segment_that_nobody_is_in_is_named(found: Backtest) -> None:
    first, *others = shown(found)["segments"]
    nobody = first | {"customers": 0, "centroid": dict.fromkeys(first["centroid"])}
    one = shown(found) | {"segments": [*others, nobody]}
    assert f"Nobody is in {first['name']}:" in text(found | {"outcomes": [one]})


def test_json_holds_all_outcomes(found: Backtest) -> None:
    read = json.loads(json.dumps(found, allow_nan=False))
    assert [each["label"] for each in read["outcomes"]] == ["as set", "margin=0.0", "margin=0.5"]
    assert read["data"]["rejected"]


def test_an_outcome_without_a_date_has_no_quality(found: Backtest) -> None:
    middle, worst = inertia(shown(found) | {"quality": []}, "by_centroids")
    assert middle != middle
    assert worst != worst
