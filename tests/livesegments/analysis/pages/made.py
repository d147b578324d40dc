"""A hand-made report with everything that a page can show."""

from typing import Any

from livesegments.analysis.pages.report import Report
from livesegments.analysis.segments import Segment
from livesegments.analysis.transitions import NONE
from tests.segmentations import PERSONAS

IDS = PERSONAS.segment_ids
FEATURES = PERSONAS.feature_names
DAYS = tuple(f"2026-03-{day:02d}" for day in range(1, 31))
HASH = "0123456789ab"
TARGET = "segment customers consenting refusing unknown spend purchases consenting_spend"
LEFT = "hash left_on origin segment last_purchase purchases spend marketing"
LEAVING = "hash leaves_on segment margin last_purchase purchases spend marketing"
TYPICAL = "hash segment distance purchases spend age income location"


def report(**changed: Any) -> Report:
    """A report of five segments over thirty days."""
    names = (*IDS, NONE)
    made: Report = {
        "group": "livesegments",
        "clock": "2026-03-30T12:00:00.000000Z",
        "window_days": 90,
        "currency": "EUR",
        "customers": 1_500_000,
        "segments": tuple(_segment(i) for i in range(5)),
        "places": {
            persona.id: dict(
                zip(
                    FEATURES,
                    [(0.5 * i - 1, z) for i, z in enumerate(persona.position)],
                    strict=True,
                )
            )
            for persona in PERSONAS.segments
        },
        "expected": {each: dict.fromkeys(FEATURES, 12.5) for each in IDS},
        "days": DAYS,
        "sizes": {each: tuple(290_000 + 1_000 * day for day in range(1, 31)) for each in IDS},
        "moves": {"live": (1_200,) * 30, "expiry": (0, 0, 90) * 10},
        "transitions": {a: {b: 0 if a == b else 1_234 for b in names} for a in names},
        "targets": [
            _row(TARGET, each, 300_000, 100_000, 150_000, 50_000, 9e6, 1_200_000, 3e6)
            for each in IDS
        ],
        "retention": {
            "segment": IDS[4],
            "left": (
                _row(LEFT, HASH, "2026-03-04", "expiry", None, "2026-01-02", 0, 0.0, None),
                _row(LEFT, HASH, "2026-03-05", "live", IDS[0], "2026-03-05", 9, 120.5, True),
            ),
            "left_customers": 2_001,
            "leaving": (
                _row(LEAVING, HASH, "2026-04-02", IDS[1], -0.05, "2026-02-20", 7, 80.0, False),
                _row(LEAVING, HASH, "2026-04-05", None, 12.0, "2026-01-20", 1, 8.0, True),
            ),
            "leaving_customers": 40_002,
        },
        "categories": {
            "purchases": 4_000_000,
            "without": 17,
            "rows": {f"CATEGORY {n}": dict.fromkeys(IDS, 1_000 * n) for n in range(20)},
            "spend": {f"CATEGORY {n}": dict.fromkeys(IDS, 5e4) for n in range(20)},
            "lift": {
                f"CATEGORY {n}": dict(zip(IDS, (None, 0.2, 1.0, 1.3, 4.0), strict=True))
                for n in range(20)
            },
        },
        "typical": tuple(
            _row(TYPICAL, HASH, each, 0.5, 12, 341.2, 35.0, None, "suburban") for each in IDS
        ),
        "drift": {
            "generation": 12,
            "provisional": False,
            "fitted_on": 3_000,
            "shift": dict(zip(IDS, (0.1, 0.2, 0.31, None, 0.0), strict=True)),
            "explained_variance": 0.61,
            "share_psi": (0.2, 0.1),
            "feature_psi": dict.fromkeys(FEATURES, (0.01, 0.1)),
        },
        "quality": {
            "unknown": dict.fromkeys(FEATURES, 0.25),
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
    }
    return made | changed


def _row(names: str, *values: Any) -> dict[str, Any]:
    return dict(zip(names.split(), values, strict=True))


def _segment(i: int) -> Segment:
    persona = PERSONAS.segments[i]
    return {
        "id": persona.id,
        "name": persona.name,
        "description": persona.description,
        "customers": 300_000,
        "centroid": dict(zip(FEATURES, (12.25, 1_234.5, 41.0, 61_000.0, None), strict=True)),
        "persona_distance": 0.5,
        "named_by": FEATURES[:4],
        "contradicts": {},
        "matched_anew": persona.id,
    }
