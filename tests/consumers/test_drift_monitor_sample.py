"""Selection of customers for the drift detectors."""

import numpy as np

from livesegments.consumers.drift_monitor import MOST, watch
from livesegments.consumers.scoring import Scores, score
from livesegments.features.record_codec import Records, empty
from tests.consumers.harness import LAYOUT, RULES, SEGMENTS, SHAPE, model


def bought(n: int, generation: int = 1) -> Records:
    records = empty(n, SHAPE)
    records["head"] = 100
    records["counts"][:, 100 % LAYOUT.tiles] = 1 + np.arange(n) % 7
    records["generation"] = generation
    return records


def scores_of(records: Records, number: int = 1) -> Scores:
    return score(records, 100, 100 * LAYOUT.tile_us, model(number), RULES)


def test_of_many_customers_an_even_pick_is_shown() -> None:
    records = bought(1_000)
    scores = scores_of(records)
    watched = watch(slice(0, len(records)), records, scores)
    assert len(watched.distances) == len(watched.reassigned) == MOST
    assert np.isin(watched.distances, scores.assignment.distances.min(axis=1)).all()


def test_who_is_scored_under_a_new_generation_is_left_out() -> None:
    records = bought(10, generation=1)
    records["generation"][:4] = 2
    assert len(watch(slice(0, len(records)), records, scores_of(records, 2)).distances) == 4


def test_who_is_in_no_cluster_is_left_out() -> None:
    records = bought(10)
    records["counts"][:3] = 0
    assert len(watch(slice(0, len(records)), records, scores_of(records)).distances) == 7


def test_a_first_segment_is_no_reassignment() -> None:
    records = bought(5)
    scores = scores_of(records)
    records["segment"] = [-1, *scores.segment[1:]]
    assert not watch(slice(0, len(records)), records, scores).reassigned.any()
    records["segment"][1] = (scores.segment[1] + 1) % len(SEGMENTS)
    assert watch(slice(0, len(records)), records, scores).reassigned.tolist() == [
        False,
        True,
        False,
        False,
        False,
    ]


def test_customers_of_a_sweep_behind_those_of_the_batch_are_not_shown() -> None:
    records = bought(10)
    scores = scores_of(records)
    assert len(watch(slice(0, 6), records, scores).distances) == 6
