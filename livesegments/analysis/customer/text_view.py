"""An answer as text: lines of at most 80 columns, except for ids and names."""

from livesegments.analysis.customer.explanation import Json
from livesegments.contracts.segments import Feature, SegmentChange
from livesegments.features.feature_specs import BY_NAME
from livesegments.rendering.formats import UNKNOWN, number
from livesegments.rendering.reasons import main_reason
from livesegments.rendering.templates import render

BECAUSE = {
    "consent": "consent to profiling was denied",
    "no_purchase": "no purchase in the window",
    "no_model": "there is no model yet (livesegments doctor reports the progress of the warm-up)",
    "not_scored": "not scored yet: the next purchase or sweep does it",
}
"""Reasons for no segment, in words."""
_NOTHING = {
    "erased": "was erased: nothing is kept",
    "suppressed": "is suppressed by an erasure request: nothing is kept or accepted",
}
_WITH_CENTS = 100_000
_MOST_MOMENTS = 6


def text(answer: Json) -> str:
    """Return an answer as text."""
    if answer["status"] in _NOTHING:
        return f"Customer {answer['customer_id']} {_NOTHING[answer['status']]}"
    outlook, why = answer["outlook"] or {"time_alone": ()}, answer["why"] or {"distances": ()}
    # The first expiry, and every move; the other expiries matter little.
    moments, moves = outlook["time_alone"], moves_of(answer)
    shown = [(each, each in moves) for i, each in enumerate(moments) if i == 0 or each in moves]
    return render(
        "analysis/customer/customer.txt.j2",
        **answer | {"because": BECAUSE[answer["because"] or "not_scored"]},
        natural=_natural,
        reason=lambda change: main_reason(SegmentChange.model_validate(change)),
        distances=[
            f"{each['segment']['name']} {each['distance']:.2f}" for each in why["distances"]
        ],
        moments=shown[:_MOST_MOMENTS],
    ).rstrip("\n")


def moves_of(answer: Json) -> list[Json]:
    """Return the moments at which a customer moves, as time passes."""
    moments = answer["outlook"]["time_alone"] if answer["outlook"] else []
    before = [answer["segment"], *(each["segment"] for each in moments)]
    return [each for each, old in zip(moments, before, strict=False) if each["segment"] != old]


def _natural(feature: Feature, value: float | None) -> str:
    """Return a feature's value in natural units."""
    if value is None:
        return UNKNOWN
    of = BY_NAME[feature]
    if of.step < 1:
        return number(value, 0 if value >= _WITH_CENTS else 2 if of.is_money else 1)
    return number(value, of.digits).removesuffix(".0")
