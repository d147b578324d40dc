"""A worker learns, reverts and predicts with the River estimator: breaking it breaks the worker."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from livesegments.model import MiniBatchKMeans
from livesegments.model.snapshot import Assignment
from tests.consumers.harness import (
    RETIREE,
    STUDENT,
    World,
    model,
    profile,
    purchase,
    segments,
)


def shop() -> World:
    """Two assigned customers; one buys again."""
    world = World()
    world.send(profile("a", 1, **STUDENT), purchase("a", 1), model=model())
    world.send(profile("b", 1, **RETIREE), purchase("b", 1), model=model())
    world.send(purchase("a", 2, 80.0), model=model())
    return world


def test_a_partition_holds_estimators_that_have_learned_its_customers() -> None:
    world = shop()
    world.check()
    [learned] = world.owned[0].estimators.values()
    assert isinstance(learned, MiniBatchKMeans)
    assert learned.statistics.members.sum() == 2
    world.restart()
    [restored] = world.owned[0].estimators.values()
    assert isinstance(restored, MiniBatchKMeans)
    assert restored.statistics == learned.statistics


def test_a_wrong_prediction_is_a_wrong_segment(monkeypatch: pytest.MonkeyPatch) -> None:
    right = [after for _, after, _ in segments(shop())]
    predict = MiniBatchKMeans.predict_arrays

    def permuted(self: MiniBatchKMeans, X: Any) -> Assignment:
        found = predict(self, X)
        return Assignment((found.clusters + 1) % 5, np.roll(found.distances, 1, axis=1))

    monkeypatch.setattr(MiniBatchKMeans, "predict_arrays", permuted)
    wrong = [after for _, after, _ in segments(shop())]
    assert right[:2] == ["students", "retirees"]
    assert all(one != other for one, other in zip(right, wrong, strict=False))


@pytest.mark.parametrize("method", ["learn_arrays", "revert_arrays"])
def test_what_is_not_learned_or_reverted_is_missed(
    monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    nothing: Callable[..., None] = lambda *_: None  # noqa: E731
    monkeypatch.setattr(MiniBatchKMeans, method, nothing)
    with pytest.raises(AssertionError):
        shop().check()
