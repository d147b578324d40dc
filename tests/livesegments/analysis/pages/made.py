"""A hand-made report with everything that a page can show."""

from collections.abc import Sequence
from typing import Any

from livesegments.analysis.pages.report import Report
from livesegments.analysis.segments import Segment
from livesegments.analysis.transitions import NONE
from livesegments.features.segmentation import Segmentation
from livesegments.model.naming import Segment as NamedSegment
from tests.segmentations import PERSONAS

IDS = PERSONAS.segment_ids
DAYS = tuple(f"2026-03-{day:02d}" for day in range(1, 31))
HASH = "0123456789ab"
TARGET = "segment customers consenting refusing unknown spend purchases consenting_spend"
LEFT = "hash left_on origin segment last_purchase purchases spend marketing"
LEAVING = "hash leaves_on segment margin last_purchase purchases spend marketing"
TYPICAL = "hash segment distance purchases spend age income location"


def report(segmentation: Segmentation = PERSONAS, **changed: Any) -> Report:
    """A report of some segments over thirty days."""
    ids, features = segmentation.segment_ids, segmentation.feature_names
    k, names = len(ids), (*ids, NONE)
    made: Report = {
        "group": "livesegments",
        "clock": "2026-03-30T12:00:00.000000Z",
        "window_days": 90,
        "currency": "EUR",
        "customers": 1_500_000,
        "segments": tuple(_segment(each, features) for each in segmentation.segments),
        "places": {
            persona.id: dict(
                zip(
                    features,
                    [(0.5 * i - 1, z) for i, z in enumerate(persona.position)],
                    strict=True,
                )
            )
            for persona in segmentation.segments
        },
        "expected": {each: dict.fromkeys(features, 12.5) for each in ids},
        "days": DAYS,
        "sizes": {each: tuple(290_000 + 1_000 * day for day in range(1, 31)) for each in ids},
        "moves": {"live": (1_200,) * 30, "expiry": (0, 0, 90) * 10},
        "transitions": {a: {b: 0 if a == b else 1_234 for b in names} for a in names},
        "targets": [
            _row(TARGET, each, 300_000, 100_000, 150_000, 50_000, 9e6, 1_200_000, 3e6)
            for each in ids
        ],
        "retention": {
            "segment": ids[-1],
            "days": 45,
            "left": (
                _row(LEFT, HASH, "2026-03-04", "expiry", None, "2026-01-02", 0, 0.0, None),
                _row(LEFT, HASH, "2026-03-05", "live", ids[0], "2026-03-05", 9, 120.5, True),
            ),
            "left_customers": 2_001,
            "leaving": (
                _row(LEAVING, HASH, "2026-04-02", ids[1], -0.05, "2026-02-20", 7, 80.0, False),
                _row(LEAVING, HASH, "2026-04-05", None, 12.0, "2026-01-20", 1, 8.0, True),
            ),
            "leaving_customers": 40_002,
        },
        "categories": {
            "purchases": 4_000_000,
            "without": 17,
            "rows": {f"CATEGORY {n}": dict.fromkeys(ids, 1_000 * n) for n in range(20)},
            "spend": {f"CATEGORY {n}": dict.fromkeys(ids, 5e4) for n in range(20)},
            "lift": {
                f"CATEGORY {n}": dict(
                    zip(ids, (None, 0.2, 1.0, 1.3, 4.0, *[1.0] * k), strict=False)
                )
                for n in range(20)
            },
        },
        "typical": tuple(
            _row(TYPICAL, HASH, each, 0.5, 12, 341.2, 35.0, None, "suburban") for each in ids
        ),
        "drift": {
            "generation": 12,
            "provisional": False,
            "fitted_on": 3_000,
            "shift": dict(zip(ids, (0.1, 0.2, 0.31, None, 0.0, *[0.1] * k), strict=False)),
            "explained_variance": 0.61,
            "share_psi": (0.2, 0.1),
            "feature_psi": dict.fromkeys(features, (0.01, 0.1)),
        },
        "quality": {
            "unknown": dict.fromkeys(features, 0.25),
            "purchases": 4_100_000,
            "duplicates": 12,
            "late": 3,
            "dead_letters": {"not_json": (7, 2)},
            "behind": 0,
            "implausible_ids": [
                {"customer_id": "guest", "purchases": 9, "share": 0.12, "is_placeholder": True},
                {"customer_id": HASH, "purchases": 7, "share": 0.04, "is_placeholder": False},
            ],
        },
        "generations": [_generation(segmentation, 12, 0.34), _generation(segmentation, 3, None)],
        "refit": {
            "trouble": "",
            "preview": {
                "replaces": 12,
                "sample": 3_000,
                "customers": 1_500_000,
                "inertia": {"now": 1.25, "new": 1.2},
                "gain": 0.04,
                "moving": 77_000,
                "segments": [_then(each) for each in ids],
            },
            "moves": {a: {b: 0 if a == b else 3_850 for b in names} for a in names},
        },
    }
    return made | changed


def _row(names: str, *values: Any) -> dict[str, Any]:
    return dict(zip(names.split(), values, strict=True))


def _centroid(features: Sequence[str]) -> dict[str, float | None]:
    known = (12.25, 1_234.5, 41.0, 61_000.0, None, 0.5)
    return dict(zip(features, known, strict=False))


def _generation(segmentation: Segmentation, number: int, shift: float | None) -> dict[str, Any]:
    centroid = _centroid(segmentation.feature_names)
    segments = [
        {"name": each.name, "customers": 600, "centroid": centroid, "shift": shift}
        for each in segmentation.segments
    ]
    at = f"2026-03-{number:02d} 10:00:00 UTC"
    return _row("number published_at provisional moved segments", number, at, True, 9, segments)


def _then(segment: str) -> dict[str, Any]:
    customers, distance = {"now": 300_000, "new": 299_000}, {"now": 0.5, "new": 0.45}
    names = "id customers persona_distance shift continues"
    return _row(names, segment, customers, distance, 0.2, segment)


def _segment(segment: NamedSegment, features: Sequence[str]) -> Segment:
    return {
        "id": segment.id,
        "name": segment.name,
        "description": segment.description,
        "customers": 300_000,
        "centroid": _centroid(features),
        "persona_distance": 0.5,
        "named_by": features[:4],
        "contradicts": {},
        "matched_anew": segment.id,
    }
