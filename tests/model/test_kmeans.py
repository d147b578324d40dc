"""The River estimator learns exact means, forgets exactly and is unchanged by predicting."""

import pickle
import subprocess
import sys
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from livesegments.model import MiniBatchKMeans
from livesegments.model.batch_kmeans import fit
from livesegments.model.cluster_statistics import ClusterStatistics
from livesegments.model.vectors import quantize

CENTERS = {"x": [0.0, 5.0, 10.0], "y": [0.0, 9.0, 0.0]}


def customers(n: int, seed: int = 0, unknown: float = 0.2) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    groups = rng.integers(0, 3, n)
    X = pd.DataFrame({name: np.array(c)[groups] for name, c in CENTERS.items()})
    X += rng.normal(0, 1, X.shape)
    X["z"] = rng.normal(3, 1, n)
    return X.mask(rng.random(X.shape) < unknown)


def rows_of(X: pd.DataFrame) -> list[dict[Any, Any]]:
    return [
        {name: value for name, value in row.items() if not pd.isna(value)}
        for row in X.to_dict("records")
    ]


def warm(n: int = 120) -> MiniBatchKMeans:
    model = MiniBatchKMeans(n_clusters=3, warmup=100, seed=1)
    model.learn_many(customers(n))
    assert model.generation is not None
    return model


def state(model: MiniBatchKMeans) -> tuple[Any, ...]:
    counted = model.statistics.to_bytes()
    return model.features, model.waiting, model.generation, counted, model.centers


def test_before_the_first_fit_every_row_is_in_cluster_zero() -> None:
    model = MiniBatchKMeans(warmup=50)
    assert model.predict_one({"x": 1.0}) == 0
    assert model.predict_many(pd.DataFrame({"x": [1.0, 2.0]})).tolist() == [0, 0]
    model.learn_many(customers(49, unknown=0.0))
    assert model.generation is None
    assert model.centers == {}
    assert model.predict_one({"x": 10.0, "y": 0.0}) == 0


def test_the_groups_are_found() -> None:
    model = warm()
    found = sorted((round(c["x"]), round(c["y"])) for c in model.centers.values())
    assert found == [(0, 0), (5, 9), (10, 0)]


def test_centers_are_the_means_of_the_rows_counted_in_them() -> None:
    model = warm()
    batch = customers(200, seed=5)
    before = model.statistics.copy()
    clusters = model.learn_predict_many(batch)
    for cluster in range(3):
        rows = batch[clusters == cluster]
        total = model.statistics.centroids() * model.statistics.known
        earlier = np.nan_to_num(before.centroids()) * before.known
        grown = total[cluster] - earlier[cluster]
        assert grown == pytest.approx(rows.sum().to_numpy(), abs=1e-3)
        assert model.statistics.members[cluster] - before.members[cluster] == len(
            rows.dropna(how="all")
        )


def test_predicting_changes_nothing() -> None:
    X = customers(30, seed=2)
    for model in (MiniBatchKMeans(), warm()):
        before = pickle.dumps(model)
        model.predict_many(X)
        model.predict_one({"x": 1.0, "new": 2.0})
        assert pickle.dumps(model) == before


def test_inputs_are_not_changed() -> None:
    model, X, x = warm(), customers(20, seed=2), {"x": 1.0, "y": None}
    same = X.copy(deep=True)
    clusters = model.learn_predict_many(X)
    model.predict_many(X)
    model.revert_many(X, clusters)
    model.revert_one(x, model.learn_predict_one(x))
    pd.testing.assert_frame_equal(X, same)
    assert x == {"x": 1.0, "y": None}


def test_predict_many_equals_predict_one_row_by_row() -> None:
    model, X = warm(), customers(100, seed=3)
    many = model.predict_many(X)
    assert many.tolist() == [model.predict_one(x) for x in rows_of(X)]


def test_predictions_carry_the_index_and_a_name() -> None:
    X = customers(4, seed=3)
    X.index = pd.Index(["ann", "bob", "cyd", "dan"])
    predicted = warm().predict_many(X)
    assert predicted.index.equals(X.index)
    assert predicted.name == "cluster"
    assert predicted.dtype == np.int64


@pytest.mark.parametrize("warmup", [40, 10_000])
def test_one_row_batches_equal_single_rows(warmup: int) -> None:
    one, many = (MiniBatchKMeans(n_clusters=3, warmup=warmup, seed=1) for _ in range(2))
    X = customers(80)
    for row, x in enumerate(rows_of(X)):
        one.learn_one(x)
        many.learn_many(X.iloc[[row]])
    assert state(one)[1:] == state(many)[1:]
    assert (one.generation is None) == (warmup == 10_000)


@settings(max_examples=25)
@given(st.permutations(range(60)), st.sampled_from([1, 50, 10_000]))
def test_order_in_a_batch_does_not_matter(order: list[int], warmup: int) -> None:
    batch = customers(60, seed=7)
    straight, shuffled = (MiniBatchKMeans(n_clusters=3, warmup=warmup) for _ in range(2))
    for model, last in ((straight, batch), (shuffled, batch.iloc[order])):
        if warmup == 1:
            model.learn_many(customers(50))
        model.learn_many(last)
    assert state(straight) == state(shuffled)
    assert (straight.generation is None) == (warmup == 10_000)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 1000), st.lists(st.integers(1, 30), min_size=1, max_size=5))
def test_reverting_what_was_learned_leaves_the_same_bits(seed: int, sizes: list[int]) -> None:
    model = warm()
    before = pickle.dumps(model.statistics), model.centers
    learned = []
    for step, size in enumerate(sizes):
        X = customers(size, seed=seed + step)
        learned.append((X, model.learn_predict_many(X)))
    for X, clusters in learned:
        model.revert_many(X, clusters)
    assert (pickle.dumps(model.statistics), model.centers) == before


def test_a_row_is_taken_out_of_the_cluster_it_was_counted_in() -> None:
    model = warm()
    before = state(model)
    x = {"x": 4.5, "y": 0.0, "z": 3.0}
    cluster = model.learn_predict_one(x)
    assert cluster == model.predict_one({"x": 0.0, "y": 0.0})
    away = pd.DataFrame({"x": [-5.0] * 40, "y": [0.0] * 40, "z": [3.0] * 40})
    clusters = model.learn_predict_many(away)
    assert model.predict_one(x) != cluster  # a fresh prediction would choose another cluster
    model.revert_one(x, cluster)
    model.revert_many(away, clusters)
    assert state(model) == before


def test_all_rows_of_a_batch_are_assigned_to_the_centers_from_before_it() -> None:
    model = warm()
    X = customers(300, seed=11, unknown=0.0) * 1.5
    before = model.predict_many(X)
    assert model.learn_predict_many(X).tolist() == before.tolist()


def test_warmup_rows_can_be_taken_back_before_and_after_the_fit() -> None:
    X = customers(60, seed=4, unknown=0.0)
    model = MiniBatchKMeans(n_clusters=3, warmup=50, seed=1)
    assert set(model.learn_predict_many(X[:20])) == {-1}
    model.revert_many(X[:20], pd.Series([-1] * 20))
    assert not model.waiting
    assert set(model.learn_predict_many(X)) == {-1}
    assert model.generation is not None
    fitted = model.predict_many(X)
    pull = pd.DataFrame({"x": [-60.0] * 30, "y": [0.0] * 30, "z": [3.0] * 30})
    clusters = model.learn_predict_many(pull)
    assert model.predict_many(X).tolist() != fitted.tolist()
    model.revert_many(X, pd.Series([-1] * 60))
    model.revert_many(pull, clusters)
    assert not np.frombuffer(model.statistics.to_bytes(), np.int64).any()


def test_rows_that_were_not_learned_cannot_be_taken_back_before_the_fit() -> None:
    model = MiniBatchKMeans()
    model.learn_one({"x": 1.0})
    for x, cluster in (({"x": 2.0}, -1), ({"x": 1.0}, 0)):
        with pytest.raises(ValueError, match="before the first fit"):
            model.revert_one(x, cluster)
    assert model.waiting.total() == 1


def test_a_cluster_that_does_not_exist_is_refused() -> None:
    with pytest.raises(ValueError, match="clusters must be"):
        warm().revert_one({"x": 1.0}, 3)
    with pytest.raises(ValueError, match="n_clusters"):
        MiniBatchKMeans(n_clusters=1)


def test_a_row_with_nothing_known_teaches_nothing() -> None:
    model = warm()
    before = state(model)
    empty: list[dict[str, float | None]] = [{}, {"x": None}, {"x": float("nan"), "y": None}]
    for x in empty:
        cluster = model.learn_predict_one(x)
        assert cluster == -1
        model.revert_one(x, cluster)
    assert state(model) == before


def test_none_nan_and_absent_features_are_the_same() -> None:
    rows: list[dict[str, float | None]] = [
        {"x": 1.0},
        {"x": 1.0, "y": None},
        {"x": 1.0, "y": float("nan")},
    ]
    states = []
    for x in rows:
        model = warm()
        model.learn_one(x)
        states.append(state(model))
    assert states[0] == states[1] == states[2]


def test_nullable_and_object_columns_are_understood() -> None:
    floats = pd.DataFrame({"x": [1.0, np.nan], "y": [2.0, 3.0]})
    one, two, three = warm(), warm(), warm()
    one.learn_many(floats)
    two.learn_many(floats.astype("Float64"))
    three.learn_many(floats.astype(object).where(floats.notna(), None))
    assert state(one) == state(two) == state(three)


def test_a_feature_may_appear_after_the_fit() -> None:
    model = warm()
    x = {"x": 0.0, "y": 0.0}
    cluster = model.predict_one(x)
    old = model.predict_many(customers(50, seed=9))
    model.learn_one({"a": 1.0, **x})
    assert model.features == ["a", "x", "y", "z"]
    assert model.predict_one(x) == cluster
    assert model.centers[cluster]["a"] == 1.0
    assert model.predict_many(customers(50, seed=9)).tolist() == old.tolist()
    for value in range(20):
        model.learn_one({"a": float(value)})
    assert model.snapshot.weights[0] > 0


def test_names_of_several_types_can_be_features() -> None:
    model = MiniBatchKMeans(n_clusters=2, warmup=4)
    for value in range(4):
        model.learn_one({1: value, "one": value * 2.0, 0: 3})
    assert model.features == [0, 1, "one"]
    assert model.generation is not None


def test_rows_that_cannot_be_learned_change_nothing() -> None:
    model = warm()
    before = state(model)
    row = {"x": 1.0, "colour": "red"}
    with pytest.raises(ValueError, match="red"):
        model.learn_one(row)
    with pytest.raises(ValueError, match="red"):
        model.learn_many(pd.DataFrame([row]))
    assert state(model) == before


def test_the_first_fit_waits_for_distinct_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    model = MiniBatchKMeans(n_clusters=3, warmup=10)
    with monkeypatch.context() as patched:
        # Each of equal rows would look at all before it.
        patched.delattr("livesegments.model.kmeans.distinct_rows")
        for _ in range(500):
            model.learn_one({"x": 1.0, "y": 2.0})
    assert model.generation is None
    assert len(model.waiting) == 1
    for value in (2.0, 3.0):
        model.learn_one({"x": value})
    assert model.generation is not None


def test_extreme_values_do_not_break_it() -> None:
    model = warm()
    model.learn_one({"x": float("inf"), "y": -1e300})
    assert all(np.isfinite(list(center.values())).all() for center in model.centers.values())
    assert model.predict_one({"x": float("inf")}) in range(3)


def test_pickle_and_clone() -> None:
    model = warm()
    restored = pickle.loads(pickle.dumps(model))  # noqa: S301
    assert state(restored) == state(model)
    X = customers(50, seed=6)
    assert restored.learn_predict_many(X).tolist() == model.learn_predict_many(X).tolist()
    clone = model.clone()
    assert clone.generation is None
    assert (clone.n_clusters, clone.warmup, clone.seed) == (3, 100, 1)


def parts_of(model: MiniBatchKMeans, n: int) -> list[MiniBatchKMeans]:
    return [MiniBatchKMeans.of(model.features, n_clusters=model.n_clusters) for _ in range(n)]


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(0, 2), min_size=80, max_size=80))
def test_the_parts_add_up_to_the_estimator_that_learned_all(shares: list[int]) -> None:
    whole, X = warm(), customers(80, seed=12)
    total = whole.copy()
    x = X.to_numpy()
    assigned = np.where(np.isnan(x).all(axis=1), -1, whole.predict_arrays(x).clusters)
    assert whole.learn_predict_many(X).tolist() == assigned.tolist()
    parts = parts_of(whole, 3)
    for share, part in enumerate(parts):
        rows = np.array(shares) == share
        part.learn_arrays(quantize(x[rows]), assigned[rows])
    for part in parts:
        total += part
    assert state(total) == state(whole)
    learned = ClusterStatistics.of(quantize(x), assigned, 3)
    assert (parts[0] + parts[1] + parts[2]).statistics == learned


def test_a_sum_leaves_its_parts_alone() -> None:
    model = warm()
    before = state(model)
    [part] = parts_of(model, 1)
    part.learn_arrays(quantize(np.full((4, 3), 7.0)), np.zeros(4, np.int8))
    assert (model + part).centers != model.centers
    assert state(model) == before
    assert part.statistics.members.tolist() == [4, 0, 0]


def test_a_copy_learns_on_its_own() -> None:
    model = warm()
    before = state(model)
    twin = model.copy()
    assert state(twin) == before
    twin.learn_one({"x": 1.0, "new": 3.0})
    assert state(model) == before
    waiting = MiniBatchKMeans()
    waiting.copy().learn_one({"x": 1.0})
    assert not waiting.waiting
    assert not waiting.features


def test_what_does_not_belong_together_does_not_add() -> None:
    one, other = warm(), warm(n=110)
    with pytest.raises(ValueError, match="different fits"):
        one += other
    with pytest.raises(ValueError, match="features"):
        one += MiniBatchKMeans.of(["x"], n_clusters=3)
    waiting = MiniBatchKMeans(n_clusters=3)
    waiting.learn_many(customers(5))
    for first, second in ((waiting, waiting), (one, waiting), (waiting, one)):
        with pytest.raises(ValueError, match="after the first fit"):
            first + second


def test_a_sum_has_the_fit_of_any_of_its_parts() -> None:
    model = warm()
    assert state(model.part() + model) == state(model + model.part()) == state(model)


def test_a_part_counts_and_does_not_assign() -> None:
    [part] = parts_of(warm(), 1)
    part.learn_arrays(np.zeros((1, 3), np.int32), np.array([0]))
    with pytest.raises(ValueError, match="centroids"):
        part.learn_one({"x": 1.0})
    with pytest.raises(ValueError, match="centroids"):
        part.predict_arrays(np.ones((1, 3)))
    part.revert_arrays(np.zeros((1, 3), np.int32), np.array([0]))
    assert part.statistics == ClusterStatistics(3, 3)


def test_a_fit_starts_from_where_the_clusters_are_too_and_changes_nothing() -> None:
    model = warm()
    before = state(model)
    X = customers(150, seed=4, unknown=0.0).to_numpy()
    found = model.fit_arrays(X, seed=5)
    assert state(model) == before
    expected = fit(X, 3, seed=5, starts=8, initial=model.snapshot.centroids)
    assert np.array_equal(found.centroids, expected.centroids)


def test_importing_the_estimator_loads_neither_services_nor_pandas_nor_scipy() -> None:
    heavy = ("pandas", "scipy", "kafka", "redis", "consumers", "store", "features")
    code = f"import sys, model; print([name for name in {heavy} if name in sys.modules])"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"
