"""MiniBatchKMeans keeps River's conventions.

`check_estimator` gives clusterers no data set, so its data-driven checks do not run on them. They
run here, each on two streams. Every check of `river.checks.common` is named: either it runs or the
reason why it does not apply is given, and a check added by a later River fails the last test.
"""

import inspect
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from river import checks, datasets
from river.checks import common

from livesegments.model import MiniBatchKMeans

PLAIN = [
    common.check_repr,
    common.check_str,
    common.check_tags,
    common.check_clone_same_class,
    common.check_clone_is_idempotent,
    common.check_init_has_default_params_for_tests,
    common.check_init_default_params_are_not_mutable,
    common.check_doc,
    common.check_clone_changes_memory_addresses,
    common.check_mutate_can_be_idempotent,
    common.check_pickling_supports_roundtrip,
    common.check_repr_roundtrips_clone,
    common.check_clone_with_new_params_applies,
    common.check_get_params_matches_signature,
    common.check_mutable_attributes_exist,
]

WITH_DATA = [
    common.check_learn_one,
    common.check_pickling,
    common.check_shuffle_features_no_impact,
    common.check_emerging_features,
    common.check_disappearing_features,
    common.check_radically_disappearing_features,
    common.check_no_state_aliasing_with_input,
    common.check_clone_is_independent,
    common.check_seeding_is_idempotent,
    common.check_bounded_memory_growth,
]

NOT_APPLICABLE = {
    "check_debug_one": "there is no debug_one",
    "check_has_tag": "a building block of other checks; clusterers have no tag",
    "check_predict_one_pure": "skips clusterers; see test_inputs_are_not_changed",
    "check_predict_one_before_any_learn": "skips clusterers; see test_before_the_first_fit_...",
    "check_transform_one": "for transformers",
    "check_transform_many_matches_transform_one": "for transformers",
    "check_predict_many_matches_predict_one": "skips clusterers; see test_predict_many_equals_...",
    "check_predict_proba_many_matches_predict_proba_one": "for classifiers",
    "check_learn_many_matches_learn_one": "rows of a batch meet the centroids from before it; for "
    "one row, see test_one_row_batches_equal_single_rows",
    "check_wrapper_accepts_kwargs": "for wrappers",
}


class Stream:
    """A data set that can be read repeatedly, as River's checks expect."""

    def __init__(self, dataset: Any, size: int) -> None:
        self.dataset = dataset
        self.size = size

    def __iter__(self) -> Iterator[Any]:
        return iter(self.dataset.take(self.size))


STREAMS = [
    pytest.param(Stream(datasets.Phishing(), 600), id="Phishing"),
    pytest.param(Stream(datasets.TrumpApproval(), 600), id="TrumpApproval"),
]


def estimator() -> MiniBatchKMeans:
    # Half of River's streams of a few hundred rows then come after the first fit.
    return MiniBatchKMeans(n_clusters=4, warmup=50, seed=3)


def test_check_estimator_passes() -> None:
    checks.check_estimator(MiniBatchKMeans())


@pytest.mark.parametrize("check", PLAIN, ids=lambda check: check.__name__)
def test_plain_check(check: Callable[[Any], None]) -> None:
    check(estimator())


@pytest.mark.parametrize("stream", STREAMS)
@pytest.mark.parametrize("check", WITH_DATA, ids=lambda check: check.__name__)
def test_check_with_data(check: Callable[[Any, Any], None], stream: Stream) -> None:
    check(estimator(), stream)


@pytest.mark.parametrize("stream", STREAMS)
def test_the_streams_reach_past_the_first_fit(stream: Stream) -> None:
    model = estimator()
    for x, _ in stream:
        model.learn_one(x)
    assert model.generation is not None
    assert len({model.predict_one(x) for x, _ in stream}) > 1


def test_every_check_is_accounted_for() -> None:
    known = {
        name
        for name, function in inspect.getmembers(common, inspect.isfunction)
        if name.startswith("check_")
    }
    run = {check.__name__ for check in PLAIN + WITH_DATA}
    assert run | set(NOT_APPLICABLE) == known
    assert not run & set(NOT_APPLICABLE)
