import numpy as np
import pytest

from livesegments.consumers.clocks import TOLERANCE_US
from livesegments.consumers.scoring import NONE, Scores, score
from livesegments.features.record_codec import Records, empty
from tests.consumers.harness import (
    DAY,
    LAYOUT,
    MEAN,
    RULES,
    SEGMENTS,
    SHAPE,
    STUDENTS,
    model,
    switching,
)

CLOCK = 100 * DAY
STUDENT, RETIREE = SEGMENTS.index(STUDENTS), SEGMENTS.index("retirees")


def records(n: int, **fields: object) -> Records:
    """Customers with a purchase today and average age and income."""
    some = empty(n, SHAPE)
    some["head"] = LAYOUT.tile(CLOCK)
    some["counts"][:, LAYOUT.tile(CLOCK) % LAYOUT.tiles] = 3
    some["age"], some["income"] = MEAN[2], np.exp(MEAN[3])
    for name, value in fields.items():
        some[name] = value
    return some


def scored(some: Records, margin: float = 0.15, min_dwell_us: int = 0, turn: int = 0) -> Scores:
    clock = np.full(len(some), CLOCK)
    now = model(turn=turn)
    config = switching(RULES, margin=margin, min_dwell_us=min_dwell_us)
    return score(some, LAYOUT.tile_of(clock), clock, now, config)


def test_only_who_bought_in_the_window_and_may_be_profiled_is_counted() -> None:
    some = records(5)
    some["profiling"] = [-1, 0, 1, -1, -1]
    some["suppressed"][3] = True
    some["head"][4] -= LAYOUT.tiles
    scores = scored(some)
    assert scores.counted.tolist() == [True, False, True, False, False]
    assert (scores.cluster >= 0).tolist() == scores.counted.tolist()
    assert (scores.segment >= 0).tolist() == scores.counted.tolist()


@pytest.mark.parametrize("turn", range(5))
def test_the_first_segment_is_that_of_the_nearest_cluster(turn: int) -> None:
    some = records(40)
    rng = np.random.default_rng(0)
    some["age"] = rng.uniform(18, 90, 40)
    some["income"] = rng.lognormal(10.8, 0.6, 40)
    scores = scored(some, turn=turn)
    assert len(set(scores.segment.tolist())) > 2
    assert scores.segment.tolist() == model(turn=turn).segment_of_cluster[scores.cluster].tolist()
    assert scores.segment.tolist() == scored(some).segment.tolist(), "whatever the clusters' order"


@pytest.mark.parametrize("turn", range(5))
@pytest.mark.parametrize("published", SEGMENTS)
def test_a_published_segment_is_held_by_the_distance_to_its_own_cluster(
    turn: int, published: str
) -> None:
    some = records(1, segment=SEGMENTS.index(published))
    [distances] = scored(some, turn=turn).assignment.distances
    nearest = model(turn=turn).generation.segments[int(distances.argmin())]
    ratio = distances.min() / distances[model(turn=turn).generation.segments.index(published)]
    if published == nearest:
        assert scored(some, margin=0.0, turn=turn).segment.tolist() == [SEGMENTS.index(nearest)]
        return
    held, gives_way = (scored(some, x - ratio, turn=turn) for x in (1.001, 0.999))
    assert held.segment.tolist() == [SEGMENTS.index(published)]
    assert held.held_by_margin.tolist() == [True]
    assert gives_way.segment.tolist() == [SEGMENTS.index(nearest)]
    assert gives_way.held_by_margin.tolist() == [False]
    assert held.cluster.tolist() == gives_way.cluster.tolist() == [distances.argmin()]


def test_a_dwell_holds_what_the_margin_would_let_go() -> None:
    some = records(3, segment=RETIREE, age=19.0, income=18_000.0)
    some["since"] = [CLOCK, CLOCK - DAY + 1, CLOCK - DAY]
    scores = scored(some, min_dwell_us=DAY)
    assert scores.held_by_dwell.tolist() == [True, True, False]
    assert scores.segment.tolist() == [RETIREE, RETIREE, STUDENT]
    assert not scores.held_by_margin.any()


def test_a_dwell_does_not_hold_who_is_not_counted_or_was_not_published() -> None:
    some = records(2, age=19.0, income=18_000.0, since=CLOCK)
    some["segment"], some["profiling"] = [RETIREE, NONE], [0, 1]
    scores = scored(some, min_dwell_us=DAY)
    assert scores.segment.tolist() == [NONE, STUDENT]
    assert not scores.held_by_dwell.any()


def test_a_segment_that_began_in_the_future_holds_nobody() -> None:
    """A clock was wrong at that time; within the tolerance it may be another worker's."""
    some = records(2, segment=RETIREE, age=19.0, income=18_000.0)
    some["since"] = [CLOCK + TOLERANCE_US, CLOCK + TOLERANCE_US + 1]
    assert scored(some, min_dwell_us=DAY).segment.tolist() == [RETIREE, STUDENT]


def test_nobody_can_be_scored() -> None:
    assert scored(records(0)).segment.tolist() == []
