"""A generation round-trips through JSON, and an invalid one is rejected with a reason."""

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from livesegments.model.drift import Histogram
from livesegments.model.generation import Generation


@pytest.fixture
def generation() -> Generation:
    return Generation(
        number=3,
        centroids=np.array([[0.1 + 0.2, np.nan], [1e-17, -4.0]]),
        mean=np.array([1.0, np.nan]),
        variance=np.array([0.5, np.nan]),
        sizes=(4, 0),
        segments=("students", "retirees"),
        histograms=(Histogram((0.1 + 0.2, 1.0), (3, 0, 1, 0)), Histogram((), (0, 4))),
        provisional=True,
    )


def test_what_older_versions_did_not_write_may_be_missing(generation: Generation) -> None:
    fields = generation.to_dict()
    del fields["histograms"], fields["provisional"]
    assert Generation.from_dict(fields) == replace(generation, histograms=(), provisional=False)


def test_json_round_trip_keeps_every_bit(generation: Generation) -> None:
    text = json.dumps(generation.to_dict(), allow_nan=False)
    restored = Generation.from_dict(json.loads(text))
    assert restored == generation
    assert hash(restored) == hash(generation)
    assert restored.centroids.tobytes() == generation.centroids.tobytes()
    assert restored.sizes == (4, 0)
    assert restored.segments == ("students", "retirees")


def test_unknown_fields_are_ignored(generation: Generation) -> None:
    assert Generation.from_dict({**generation.to_dict(), "later": 1}) == generation


def test_generations_that_differ_are_not_equal(generation: Generation) -> None:
    assert replace(generation, mean=np.array([1.0, 2.0])) != generation
    assert replace(generation, number=4) != generation


def test_arrays_are_its_own_and_read_only() -> None:
    mean = np.zeros(1)
    generation = Generation(1, np.zeros((2, 1)), mean, np.ones(1), (1, 1), ("a", "b"))
    mean[0] = 7.0
    assert generation.mean[0] == 0.0
    with pytest.raises(ValueError, match="read-only"):
        generation.mean[0] = 7.0


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("histograms", [{"edges": [], "counts": [1, 2]}]),
        ("histograms", [{"edges": []}] * 2),
        ("histograms", 7),
        ("provisional", 1),
        ("number", 0),
        ("number", 1.0),
        ("number", True),
        ("centroids", [[1.0, 2.0], [3.0]]),
        ("centroids", [[1.0, "x"], [3.0, 4.0]]),
        ("centroids", [[1.0, float("inf")], [3.0, 4.0]]),
        ("centroids", [1.0, 2.0]),
        ("centroids", [[1.0, 2.0]]),
        ("centroids", 5),
        ("mean", [1.0]),
        ("mean", None),
        ("variance", [1.0, 2.0, 3.0]),
        ("variance", [1.0, -2.0]),
        ("sizes", [1]),
        ("sizes", [1, -1]),
        ("sizes", [1, 1.5]),
        ("segments", ["a"]),
        ("segments", ["a", "a"]),
        ("segments", ["a", ""]),
        ("segments", ["a", 3]),
        ("segments", "ab"),
    ],
)
def test_a_wrong_field_is_named(generation: Generation, field: str, value: Any) -> None:
    with pytest.raises(ValueError, match=f"generation {field}"):
        Generation.from_dict({**generation.to_dict(), field: value})


def test_missing_fields_are_named(generation: Generation) -> None:
    fields = generation.to_dict()
    del fields["mean"], fields["sizes"]
    with pytest.raises(ValueError, match="generation lacks mean, sizes"):
        Generation.from_dict(fields)


def test_a_wider_generation_has_no_histograms(generation: Generation) -> None:
    wide = generation.widened([0, 2], 3)
    assert wide.mean.tolist() == pytest.approx([1.0, np.nan, np.nan], nan_ok=True)
    assert wide.histograms == ()
