"""MiniBatchKMeans keeps River's conventions.

`check_estimator` gives clusterers no data set, so its data-driven checks do not run on them. They
run here, each on two streams. Every check of `river.checks.common` is named: either it runs or the
reason why it does not apply is given, and a check added by a later River fails the last test.
"""

import inspect
from collections.abc import Iterator
from importlib import import_module
from typing import Any

import pytest

from livesegments.model import MiniBatchKMeans

PLAIN = [
    "check_repr",
    "check_str",
    "check_tags",
    "check_clone_same_class",
    "check_clone_is_idempotent",
    "check_init_has_default_params_for_tests",
    "check_init_default_params_are_not_mutable",
    "check_doc",
    "check_clone_changes_memory_addresses",
    "check_mutate_can_be_idempotent",
    "check_pickling_supports_roundtrip",
    "check_repr_roundtrips_clone",
    "check_clone_with_new_params_applies",
    "check_get_params_matches_signature",
    "check_mutable_attributes_exist",
]

WITH_DATA = [
    "check_learn_one",
    "check_pickling",
    "check_shuffle_features_no_impact",
    "check_emerging_features",
    "check_disappearing_features",
    "check_radically_disappearing_features",
    "check_no_state_aliasing_with_input",
    "check_clone_is_independent",
    "check_seeding_is_idempotent",
    "check_bounded_memory_growth",
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


@pytest.fixture(params=["Phishing", "TrumpApproval"])
def stream(request: pytest.FixtureRequest) -> Stream:
    """One of River's data sets; its modules are slow to import, so only tests import them."""
    return Stream(getattr(import_module("river.datasets"), request.param)(), 600)


def run(check: str, *arguments: Any) -> None:
    """Run one of River's checks."""
    getattr(import_module("river.checks.common"), check)(*arguments)


def estimator() -> MiniBatchKMeans:
    # Half of River's streams of a few hundred rows then come after the first fit.
    return MiniBatchKMeans(n_clusters=4, warmup=50, seed=3)


def test_check_estimator_passes() -> None:
    from river import checks

    checks.check_estimator(MiniBatchKMeans())


@pytest.mark.parametrize("check", PLAIN)
def test_plain_check(check: str) -> None:
    run(check, estimator())


@pytest.mark.parametrize("check", WITH_DATA)
def test_check_with_data(check: str, stream: Stream) -> None:
    run(check, estimator(), stream)


def test_the_streams_reach_past_the_first_fit(stream: Stream) -> None:
    model = estimator()
    for x, _ in stream:
        model.learn_one(x)
    assert model.generation is not None
    assert len({model.predict_one(x) for x, _ in stream}) > 1


def test_every_check_is_accounted_for() -> None:
    from river.checks import common

    known = {
        name
        for name, function in inspect.getmembers(common, inspect.isfunction)
        if name.startswith("check_")
    }
    ours = {*PLAIN, *WITH_DATA}
    assert ours | set(NOT_APPLICABLE) == known
    assert not ours & set(NOT_APPLICABLE)
