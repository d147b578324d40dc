"""Reasons of a segment change in words, from the parts that the change carries."""

from collections.abc import Iterator
from dataclasses import dataclass

from livesegments.contracts.segments import Explanation, SegmentChange

BY_PURCHASES: dict[str, tuple[str, str]] = {
    "purchases": ("bought less", "bought more"),
    "spend": ("spent less", "spent more"),
    "recency": ("bought again", "stayed away"),
    "basket": ("smaller baskets", "larger baskets"),
}
"""Feature -> words for a lower value, and for a higher one. Other features are the profile's."""
_TRIGGERS = {"live": "bought", "expiry": "time"}
_NO_SEGMENT = {"profile": "profiling refused", "erasure": "erased"}


@dataclass(frozen=True, slots=True)
class Reason:
    """One reason: words for people, and the feature with its figures, if it is a feature."""

    words: str
    detail: str = ""

    def __str__(self) -> str:
        return ": ".join(filter(None, (self.words, self.detail)))


def reasons(change: SegmentChange) -> list[Reason]:
    """Return what made a change, the largest part first; empty if no part speaks for it.

    Figures are standard deviations from the mean of all customers.
    """
    if change.segment is None:
        return [Reason(_NO_SEGMENT.get(change.origin, "no purchase left"))]
    parts = sorted(_parts(change), key=lambda part: -part[0])
    return [reason for part, reason in parts if part > 0]


def main_reason(change: SegmentChange) -> Reason:
    """Return the largest part of a change; without any, the kind of its cause."""
    found = reasons(change)
    return found[0] if found else Reason(_TRIGGERS.get(change.origin, change.origin))


def _parts(change: SegmentChange) -> Iterator[tuple[float, Reason]]:
    """Yield the contributions of a change, each with its words."""
    others = change.other_contributions
    compares = others is not None and others.model is not None
    for each in change.explanation:
        # Releases without contributions listed the feature farthest from the average first.
        part = abs(each.z_score) if each.contribution is None else each.contribution
        yield part, _feature(each, compares=compares)
    if others is not None:
        yield others.model or 0.0, Reason("the segments moved")
        earlier = "profile" if change.origin == "profile" else "an earlier profile"
        yield others.profile, Reason(earlier)


def _feature(each: Explanation, *, compares: bool) -> Reason:
    """Return the words for a feature; without a place to compare with, where the customer is."""
    before, now = each.previous_z_score, each.z_score
    words = BY_PURCHASES.get(each.feature)
    if not compares:
        return Reason(f"{each.feature} {_sd(now)} sd")
    if before is None:
        return Reason("profile" if words is None else words[1], f"{each.feature} now {_sd(now)} sd")
    digits = 1 if _sd(before) != _sd(now) else 2
    detail = f"{each.feature} from {_sd(before, digits)} to {_sd(now, digits)} sd"
    return Reason("profile" if words is None else words[now > before], detail)


def _sd(z_score: float, digits: int = 1) -> str:
    return f"{z_score:+.{digits}f}"
