"""A report as a page."""

import json
import re
from itertools import pairwise

import pytest

from livesegments.analysis.pages.report import display, page
from livesegments.features.feature_specs import BY_NAME
from livesegments.features.segmentation import Segmentation
from livesegments.model.naming import Segment as NamedSegment
from livesegments.rendering.formats import MEANS
from livesegments.rendering.templates import render
from tests.livesegments.analysis.pages.made import HASH, IDS, report
from tests.livesegments.rendering.elements import Elements


def test_the_page_is_whole_and_loads_and_runs_nothing() -> None:
    text = page(report())
    elements = Elements(text)
    assert "script" not in elements.names
    assert "http" not in re.sub(r"http-equiv", "", text)
    assert [value for name, value in elements.attributes if name in ("src", "href")] == ["data:,"]
    assert "default-src 'none'" in text


def test_headings_lead_through_it_without_a_gap() -> None:
    levels = [int(name[1]) for name in Elements(page(report())).names if re.match("h[1-6]", name)]
    assert levels.count(1) == 1
    assert levels[0] == 1
    assert all(after - before <= 1 for before, after in pairwise(levels))


def test_every_table_and_plot_says_what_it_is() -> None:
    text = page(report())
    tables = re.findall(r"<table.*?</table>", text, re.DOTALL)
    assert len(tables) >= 12
    for table in tables:
        assert re.search(r"<caption>[^<]{5,}</caption>", table)
        heads = re.findall(r'<th scope="col"', table)
        for row in re.findall(r"<tr>(?!<th scope=\"col\").*?</tr>", table, re.DOTALL):
            assert row.count("<td") + row.count('<th scope="row"') == len(heads)
    for svg in re.findall(r"<svg.*?</svg>", text, re.DOTALL):
        assert re.match(r'<svg [^>]*role="img"[^>]*aria-label="[^"]{20,}"[^>]*><title>', svg)


@pytest.mark.parametrize(
    "wanted",
    [
        "1,500,000",  # customers
        "300,000 customers, 20%",
        "29,000 more since 1 Mar 2026",
        "Customers to keep: High-Value Customers",
        "2,001 left in the period",
        "window moved on",
        "over +100%",
        "\N{MINUS SIGN}5%",
        "CATEGORY 9 4.00\N{MULTIPLICATION SIGN}",
        "35",
        "moved",
        "not_json",
        "centroids moved by up to 0.34",
        "77,000 customers would change segment",
    ],
)
def test_what_was_found_is_on_the_page(wanted: str) -> None:
    assert wanted in Elements(page(report())).text


def test_where_nobody_knows_who_they_are_the_page_says_that_names_tell_how_they_buy() -> None:
    bought = [each | {"named_by": ("purchases", "spend")} for each in report()["segments"]]
    text = Elements(page(report(segments=bought))).text
    assert "They describe how customers buy, not who they are." in text
    assert "not who they are" not in Elements(page(report())).text


def test_a_name_far_from_its_customers_is_marked_wherever_it_stands() -> None:
    first, *others = report()["segments"]
    far = [first | {"persona_distance": 1.2}, *others]
    plain, marked = (Elements(page(each)).text for each in (report(), report(segments=far)))
    assert f"{first['name']}?" not in plain
    assert marked.count(f"{first['name']}?") >= 8
    assert f"(above 1, marked ?): {first['name']}." in marked


def test_when_another_segment_spends_more_than_the_most_valuable_the_page_says_so() -> None:
    first, *others = report()["segments"]
    assert first["id"] != IDS[4]
    assert "has the highest mean spend now, not High-Value" in Elements(page(report())).text
    ordered = (*others[3:], first, *others[:3])
    assert "has the highest mean" not in Elements(page(report(segments=ordered))).text


@pytest.mark.parametrize(("feature", "says"), [("purchases", True), ("recency", False)])
def test_without_spend_the_page_compares_what_orders_the_segments(feature: str, says: bool) -> None:
    two = (NamedSegment("a", "Anna", "", (1.0,)), NamedSegment("b", "Bert", "", (2.0,)))
    text = Elements(page(report(Segmentation((BY_NAME[feature],), two)))).text
    assert ("Anna has the highest mean purchases now, not Bert" in text) is says
    assert ("has the highest mean" in text) is says


def test_the_forecast_says_how_many_days_it_covers_not_how_long_there_are_changes() -> None:
    assert "leave within 45 days" in Elements(page(report())).text


def test_means_of_logarithms_are_called_so() -> None:
    assert MEANS in Elements(page(report())).text


def test_without_categories_the_page_says_which_field_to_send() -> None:
    none = {"purchases": 12, "without": 12, "rows": {}, "spend": {}, "lift": {}}
    assert "field category" in Elements(page(report(categories=none))).text


def test_what_is_not_known_is_a_dash() -> None:
    quality = report()["quality"] | {"duplicates": None, "dead_letters": {}}
    drift = report()["drift"] | {"explained_variance": None, "share_psi": (None, None)}
    text = Elements(page(report(quality=quality, drift=drift))).text
    assert "No record was rejected" in text
    assert "nan" not in text.lower()
    assert "None" not in text


def test_whatever_a_name_or_a_category_holds_is_text() -> None:
    hostile = '<img src=x onerror=alert(1)>&"'
    first, *others = report()["segments"]
    named = [first | {"name": hostile, "description": hostile}, *others]
    lift = {hostile: dict.fromkeys(IDS, 2.0)}
    rows = {hostile: dict.fromkeys(IDS, 1)}
    bought = {"purchases": 5, "without": 0, "rows": rows, "spend": lift, "lift": lift}
    letters = report()["quality"] | {"dead_letters": {hostile: (1, 0)}}
    elements = Elements(page(report(segments=named, categories=bought, quality=letters)))
    assert "img" not in elements.names
    assert elements.text.count(hostile) >= 6


def test_json_has_the_same_figures() -> None:
    read = json.loads(json.dumps(report(), allow_nan=False))
    assert read["retention"]["left"][0]["hash"] == HASH
    assert read["quality"]["dead_letters"] == {"not_json": [7, 2]}


@pytest.mark.parametrize(("gain", "says"), [(0.04, "4.00% less"), (-0.01, "1.00% more")])
def test_a_refit_has_less_inertia_or_more(gain: float, says: str) -> None:
    refit = report()["refit"]
    refit["preview"]["gain"] = gain
    assert f"then, {says}." in page(report(refit=refit))


def test_ids_that_no_person_has_are_named_and_those_of_people_are_hashes() -> None:
    text = page(report())
    assert "The placeholder guest has 12.0% of the purchases" in text
    assert f"The customer with the hash {HASH} has 4.0% of the purchases" in text


def test_lists_have_their_names_also_beside_a_segment_of_that_name() -> None:
    shown = display(report())
    shown["names"] |= {"retention": "Members", "target-retention": "Guests"}
    lists = ["target-retention", "target-target-retention", "retention", "cross-sell"]
    text = render("analysis/pages/audiences.html.j2", report=report(), lists=lists, **shown)
    assert re.findall(r'href="/audiences/([^"]+)\.csv" download>([^<]+)<', text) == [
        ("target-retention", "Members"),
        ("target-target-retention", "Guests"),
        ("retention", "Customers to keep"),
        ("cross-sell", "Offers to cross-sell"),
    ]


def test_one_customer_is_no_customers() -> None:
    segments = [each | {"customers": 1} for each in report()["segments"]]
    assert "<strong>1</strong> customer, " in page(report(segments=segments))
