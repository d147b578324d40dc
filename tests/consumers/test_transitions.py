import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from livesegments.consumers.scoring import Scores, moved_rows, relearn, score
from livesegments.features.record_codec import Records, empty
from livesegments.model.cluster_statistics import ClusterStatistics
from livesegments.model.kmeans import MiniBatchKMeans
from tests.consumers.harness import (
    DAY,
    LAYOUT,
    MEAN,
    RULES,
    SHAPE,
    World,
    model,
    profile,
    purchase,
    recounted,
    statistics_in,
)

CLOCK = 100 * DAY


def records(ages: list[float], counted: list[bool] | None = None) -> Records:
    """Customers of given ages, with or without a purchase today."""
    some = empty(len(ages), SHAPE)
    some["head"] = LAYOUT.tile(CLOCK)
    some["counts"][:, LAYOUT.tile(CLOCK) % LAYOUT.tiles] = (
        [True] * len(ages) if counted is None else counted
    )
    some["age"], some["income"] = ages, np.exp(MEAN[3])
    return some


def scored(some: Records, number: int = 1, turn: int = 0) -> Scores:
    return score(some, LAYOUT.tile(CLOCK), CLOCK, model(number, turn), RULES)


def learned(
    estimators: dict[int, MiniBatchKMeans], some: Records, scores: Scores
) -> dict[int, MiniBatchKMeans]:
    """The estimators after the scores, which are applied to the records as by `decide`."""
    after = relearn(estimators, moved_rows(some, scores), some, scores)
    some["cluster"], some["generation"] = scores.cluster, scores.model.generation.number
    some["vector"] = np.where(scores.counted[:, None], scores.fixed, 0)
    return after


ages = st.lists(st.sampled_from([18.0, 40.0, 90.0]), min_size=4, max_size=4)
flags = st.lists(st.booleans(), min_size=4, max_size=4)


@given(st.lists(st.tuples(ages, flags, st.integers(0, 2), st.sets(st.integers(0, 3))), max_size=6))
def test_statistics_are_a_recount_of_the_records_and_those_before_are_left_alone(
    steps: list[tuple[list[float], list[bool], int, set[int]]],
) -> None:
    some = records([50.0] * 4, [False] * 4)
    estimators: dict[int, MiniBatchKMeans] = {}
    number = 1
    for new_ages, counted, newer, touched in steps:
        number += newer
        rows = sorted(touched)
        part = some[rows]
        moved = records(new_ages, counted)[rows]
        part["age"], part["counts"] = moved["age"], moved["counts"]
        before = dict(estimators)
        bytes_before = {n: each.statistics.to_bytes() for n, each in before.items()}
        estimators = learned(estimators, part, scored(part, number, number % 5))
        assert {n: each.statistics.to_bytes() for n, each in before.items()} == bytes_before
        some[rows] = part
        statistics = statistics_in(estimators)
        assert {n: s for n, s in statistics.items() if s.members.any()} == recounted(some)
        assert all(s.members.any() for n, s in statistics.items() if n != number)


def test_estimators_that_do_not_change_are_the_same_objects() -> None:
    some = records([20.0, 70.0])
    estimators = learned({}, some, scored(some))
    again = learned(estimators, some, scored(some))
    assert again[1] is estimators[1]


def test_who_is_not_counted_keeps_no_vector() -> None:
    some = records([20.0])
    learned({}, some, scored(some))
    assert some["vector"].any()
    some["profiling"] = 0
    estimators = learned({}, records([20.0]), scored(records([20.0])))
    left = learned(estimators, some, scored(some))
    assert not some["vector"].any()
    assert left[1].statistics == ClusterStatistics(5, 5)


def test_an_assignment_names_the_known_features_the_largest_part_first() -> None:
    world = World()
    world.send(profile("a", 0, age=96, income=50_000, location="urban"))
    world.send(profile("b", 0, age=20, income=50_000))
    world.send(purchase("a", 1), model=model())
    world.send(purchase("b", 1), model=model())
    first, second = world.changes
    oldest = first.explanation[0]
    assert (oldest.feature, oldest.z_score, oldest.previous_z_score) == ("age", 3.4, None)
    assert len(first.explanation) == 5
    parts = [each.contribution or 0.0 for each in first.explanation]
    assert parts == sorted(parts, reverse=True)
    assert "urbanicity" not in [each.feature for each in second.explanation]
    assert first.other_contributions is not None
    assert first.other_contributions.model is None
    assert first.other_contributions.profile == 0
    assert (first.customer_id, first.change, first.origin) == ("a", "assigned", "live")
    assert first.runner_up != first.segment
