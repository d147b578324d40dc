"""Cyclic garbage is collected between micro-batches, once there is enough of it."""

import gc
import weakref
from collections.abc import Iterator

import pytest

from livesegments.producers.gc_policy import ENOUGH, GarbageCollection


class Cycle:
    def __init__(self) -> None:
        self.itself = self


@pytest.fixture
def garbage() -> Iterator[GarbageCollection]:
    threshold = gc.get_threshold()
    yield GarbageCollection()
    gc.unfreeze()
    gc.set_threshold(*threshold)


def test_what_rounds_left_behind_is_collected_once_it_is_enough(garbage: GarbageCollection) -> None:
    left = weakref.ref(Cycle())
    garbage.collect()
    assert left() is not None, "a collection for every quiet round would cost more than it frees"
    round_ = [Cycle() for _ in range(ENOUGH)]
    del round_
    garbage.collect()
    assert left() is None


def test_what_was_there_before_is_never_looked_at_again(garbage: GarbageCollection) -> None:
    assert gc.get_freeze_count() > 10_000
    assert garbage is not None
    assert len(gc.get_objects()) < ENOUGH
