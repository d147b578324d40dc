from typing import Any, get_args

import pytest

from livesegments.contracts.segments import (
    Explanation,
    Feature,
    OtherContributions,
    SegmentChange,
)
from livesegments.features.feature_specs import BY_NAME
from livesegments.rendering.reasons import main_reason, reasons
from tests.livesegments.test_client import change


def moved(
    *features: tuple[Feature, float | None, float, float | None],
    model: float | None = 0.0,
    profile: float = 0.0,
    **fields: Any,
) -> SegmentChange:
    """A change by features, each with z-scores before and now and its contribution."""
    explanation = tuple(
        Explanation(
            feature=name,
            direction="above" if now >= 0 else "below",
            z_score=now,
            previous_z_score=before,
            contribution=part,
        )
        for name, before, now, part in features
    )
    others = OtherContributions(model=model, profile=profile)
    said = {"explanation": explanation, "other_contributions": others, **fields}
    return change("1234", 0, 4).model_copy(update=said)


def test_a_reason_says_what_the_customer_did_and_how_far_it_moved_them() -> None:
    found = moved(("purchases", 1.4, 0.6, 2.0), ("spend", 0.5, 1.25, 1.0), ("age", 1.0, -0.3, -0.4))
    assert list(map(str, reasons(found))) == [
        "bought less: purchases from +1.4 to +0.6 sd",
        "spent more: spend from +0.5 to +1.2 sd",
    ]
    assert main_reason(found).words == "bought less"


def test_close_figures_have_another_digit() -> None:
    assert str(main_reason(moved(("spend", 0.53, 0.48, 1.0)))) == (
        "spent less: spend from +0.53 to +0.48 sd"
    )


@pytest.mark.parametrize("feature", get_args(Feature))
def test_every_feature_has_words(feature: Feature) -> None:
    said = str(main_reason(moved((feature, -0.5, 0.5, 1.0))))
    assert said.endswith(f": {feature} from -0.5 to +0.5 sd")
    assert said.startswith("profile: ") == BY_NAME[feature].is_profile


def test_a_profile_that_came_or_went_is_told_without_its_value() -> None:
    assert str(main_reason(moved(("age", None, 0.6, 1.0)))) == "profile: age now +0.6 sd"
    assert str(main_reason(moved(profile=1.0, origin="profile"))) == "profile"
    assert str(main_reason(moved(profile=1.0, origin="expiry"))) == "an earlier profile"


def test_the_model_is_a_reason_of_its_own() -> None:
    found = moved(("spend", 0.5, 0.6, 0.2), model=1.0, origin="model")
    assert list(map(str, reasons(found))) == [
        "the segments moved",
        "spent more: spend from +0.5 to +0.6 sd",
    ]


def test_without_an_earlier_place_a_reason_says_where_the_customer_is() -> None:
    found = moved(("spend", None, 1.3, 0.7), ("age", None, -1.0, -0.1), model=None)
    assert list(map(str, reasons(found))) == ["spend +1.3 sd"]


def test_a_change_of_an_earlier_release_names_what_stands_out() -> None:
    explanation = (Explanation(feature="purchases", direction="above", z_score=1.3),)
    found = change("1234", 0, 4).model_copy(update={"explanation": explanation})
    assert str(main_reason(found)) == "purchases +1.3 sd"


@pytest.mark.parametrize(
    ("origin", "words"),
    [("expiry", "no purchase left"), ("profile", "profiling refused"), ("erasure", "erased")],
)
def test_leaving_every_segment_has_a_reason_too(origin: str, words: str) -> None:
    found = moved(segment=None, explanation=(), other_contributions=None, origin=origin)
    assert list(map(str, reasons(found))) == [words]


def test_what_no_part_speaks_for_is_told_by_its_trigger() -> None:
    assert str(main_reason(moved(("spend", 0.5, 0.4, -0.2), origin="expiry"))) == "time"
