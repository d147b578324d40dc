import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from livesegments.consumers.scoring import Scores, moved_rows, relearn, score
from livesegments.consumers.transitions import explain
from livesegments.features.record_codec import Records, empty
from livesegments.model.cluster_statistics import ClusterStatistics
from livesegments.model.kmeans import MiniBatchKMeans
from tests.consumers.harness import DAY, LAYOUT, MEAN, RULES, SHAPE, model, recounted, statistics_in
from tests.segmentations import PERSONAS

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


def scored(some: Records, turn: int = 0) -> Scores:
    clock = np.full(len(some), CLOCK)
    return score(some, LAYOUT.tile_of(clock), clock, model(turn=turn), RULES)


def learned(
    estimators: dict[int, MiniBatchKMeans], some: Records, scores: Scores, generation: int
) -> dict[int, MiniBatchKMeans]:
    """The estimators after the scores, which are applied to the records as by `decide`."""
    rows = moved_rows(some, scores, generation)
    after = relearn(estimators, rows, some, scores, model(generation))
    some["cluster"], some["generation"] = scores.cluster, generation
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
        estimators = learned(estimators, part, scored(part, number % 5), number)
        assert {n: each.statistics.to_bytes() for n, each in before.items()} == bytes_before
        some[rows] = part
        statistics = statistics_in(estimators)
        assert {n: s for n, s in statistics.items() if s.members.any()} == recounted(some)
        assert all(s.members.any() for n, s in statistics.items() if n != number)


def test_estimators_that_do_not_change_are_the_same_objects() -> None:
    some = records([20.0, 70.0])
    estimators = learned({}, some, scored(some), 1)
    again = learned(estimators, some, scored(some), 1)
    assert again[1] is estimators[1]


def test_who_is_not_counted_keeps_no_vector() -> None:
    some = records([20.0])
    learned({}, some, scored(some), 1)
    assert some["vector"].any()
    some["profiling"] = 0
    estimators = learned({}, records([20.0]), scored(records([20.0])), 1)
    left = learned(estimators, some, scored(some), 1)
    assert not some["vector"].any()
    assert left[1].statistics == ClusterStatistics(5, 5)


def test_an_assignment_names_the_known_features_the_largest_part_first() -> None:
    some = records([96.0, 20.0])
    some["urbanicity"][0] = 1.0
    scores = scored(some)
    origins, times = ["model", "live"], np.full(2, CLOCK)
    now = model()
    rows = np.arange(2)
    first, second = explain(
        rows, ["a", "b"], some, scores, origins, times, times, times, now, PERSONAS.features
    )
    oldest = first.explanation[0]
    assert (oldest.feature, oldest.z_score) == ("age", 3.4)
    assert np.isnan(oldest.previous_z_score)
    assert len(first.explanation) == 5
    parts = [each.contribution for each in first.explanation]
    assert parts == sorted(parts, reverse=True)
    assert "urbanicity" not in [each.feature for each in second.explanation]
    assert first.others is not None
    assert np.isnan(first.others.model)
    assert first.others.profile == 0
    assert (first.customer_id, first.kind, first.origin) == ("a", "assigned", "model")
    assert first.runner_up != first.segment
    assert (second.origin, second.time_us) == ("live", CLOCK)
