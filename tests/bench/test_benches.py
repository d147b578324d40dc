"""Benches measure the right quantities; inputs are tiny, so the figures mean nothing."""

import json
import re
import sys

import numpy as np
import pytest

from bench import __main__ as program
from bench import memory, partitioning, quality, reading, reasons, sending
from bench.report import Table
from bench.rivals import CLUSTERS, RIVALS, Floats, Rivals, Scaler, Spark, imputed_fit
from livesegments.analysis.backtest.quality import labelled_inertia
from livesegments.contracts.topics import PURCHASES
from livesegments.model import batch_kmeans

NAN = np.nan


def purchases(events: int, customers: int) -> list[tuple[str, bytes, bytes]]:
    """Return purchases of some customers in turn, an hour apart."""
    rng = np.random.default_rng(0)
    start = np.datetime64("2024-01-01T00:00:00")
    times = np.datetime_as_string(start + np.arange(events) * np.timedelta64(1, "h")).tolist()
    cents = rng.integers(100, 90_000, events).tolist()
    found = []
    for i in range(events):
        customer = f"c{i % customers}"
        value = {
            "event_id": f"e{i}",
            "customer_id": customer,
            "occurred_at": times[i] + "Z",
            "kind": "purchase",
            "amount": cents[i] / 100,
            "currency": "USD",
        }
        found.append((PURCHASES, customer.encode(), json.dumps(value).encode()))
    return found


def rows(n: int = 200) -> Floats:
    """Return five separate groups of rows, in which no age, income or place is known."""
    rng = np.random.default_rng(0)
    X = np.full((n, 5), NAN)
    X[:, 0] = np.arange(n) % CLUSTERS * 10 + rng.normal(0, 0.1, n)
    X[:, 1] = X[:, 0] ** 2 + rng.normal(0, 0.1, n)
    return X


@pytest.fixture(scope="module")
def measured() -> Table:
    return quality.run(purchases(400, 40), batch=50, warmup=20)


def test_reasons_are_counted_once_for_each_change_and_name_nothing_that_stayed() -> None:
    history = reasons.Explained(warmup=20)
    stream = purchases(600, 40)
    for start in range(0, len(stream), 50):
        history.take(stream[start : start + 50])
    table = reasons.run(stream, batch=50, warmup=20)
    counted = sum(int(cell) for _, *cells in table.rows for cell in cells)
    assert counted == sum(after != "none" for _, after, _ in history.changes) > 40
    assert history.named > 0
    assert table.notes[-1].endswith(": met")


def test_quality_has_a_row_for_each_method(measured: Table) -> None:
    names = [row[0] for row in measured.rows]
    assert set(quality.OURS) | set(RIVALS) < set(names)
    for _, *figures in measured.rows:
        low, middle, high = map(float, figures)
        assert 0 < low <= middle <= high


def test_quality_says_whether_the_goal_is_met_by_our_rows_alone(measured: Table) -> None:
    worst = max(float(row[3]) for row in measured.rows if row[0] in quality.OURS)
    [goal] = [note for note in measured.notes if note.startswith("goal")]
    # The table rounds, so a value exactly at the goal could go either way.
    assert worst != quality.GOAL
    assert goal.endswith("NOT met") == (worst > quality.GOAL)


def test_quality_leaves_out_dates_before_the_first_fit(measured: Table) -> None:
    assert "at 8 dates" in measured.title
    # The 120th customer arrives in the third batch of eight.
    late = quality.run(purchases(400, 120), batch=50, warmup=120)
    assert "at 6 dates" in late.title
    with pytest.raises(ValueError, match="too few"):
        quality.run(purchases(40, 10), batch=20, warmup=20)


def test_quality_counts_more_changes_without_a_margin(measured: Table) -> None:
    [note] = [note for note in measured.notes if note.startswith("published changes")]
    with_margin, without = map(int, re.findall(r"(\d+) with", note))
    assert 0 < with_margin <= without


def test_inertia_by_the_labels_of_a_fit_is_that_of_the_fit() -> None:
    X = rows()
    X[::7, 1] = NAN
    fit = batch_kmeans.fit(X, CLUSTERS, seed=1)
    assert labelled_inertia(X, fit.clusters, fit.weights, CLUSTERS) == pytest.approx(fit.inertia)


def test_rows_without_a_label_count_about_the_mean_of_all() -> None:
    X = rows()
    fit = batch_kmeans.fit(X, CLUSTERS, seed=1)
    nowhere = np.full(len(X), -1, np.int8)
    scatter = float((np.nan_to_num(X - fit.mean) ** 2 * fit.weights).sum())
    assert labelled_inertia(X, nowhere, fit.weights, CLUSTERS) == pytest.approx(scatter)
    assert scatter > fit.inertia


def test_the_scaler_learns_from_known_values_only() -> None:
    X = np.array([[1.0, NAN, 5.0], [3.0, NAN, NAN], [5.0, NAN, 5.0]])
    scaler = Scaler(3)
    scaler.learn(X[:1])
    scaler.learn(X[1:])
    assert scaler.mean == pytest.approx([3, 0, 5])
    assert scaler.std == pytest.approx([np.sqrt(8 / 3), 1, 1])
    Z = scaler.scale(X)
    assert Z[1, 2] == 0
    assert (Z[:, 1] == 0).all()
    assert scaler.restore(Z)[:, 0] == pytest.approx(X[:, 0])


def test_sparks_rule_weighs_every_row_alike_without_decay() -> None:
    Z = rows()[:, :1]
    spark = Spark(seed=1, decay=1.0)
    spark.places = np.linspace(0.0, 40.0, CLUSTERS)[:, None]
    for start in range(0, len(Z), 20):
        spark.learn(Z[start : start + 20])
    expected = [Z[k::CLUSTERS].mean() for k in range(CLUSTERS)]
    assert spark.centroids()[:, 0] == pytest.approx(expected)
    assert spark.weights == pytest.approx([len(Z) / CLUSTERS] * CLUSTERS)


def test_sparks_rule_halves_the_past_with_decay_a_half() -> None:
    spark = Spark(seed=1, decay=0.5)
    spark.places = np.array([[0.0], [100.0], [200.0], [300.0], [400.0]])
    spark.learn(np.zeros((8, 1)))
    spark.learn(np.full((8, 1), 3.0))
    # 8 rows at 0, of which 4 count, and 8 at 3.
    assert spark.centroids()[0, 0] == pytest.approx(2.0)
    assert spark.weights[0] == pytest.approx(12.0)


def test_rivals_give_centroids_in_feature_units() -> None:
    X = rows()
    rivals = Rivals(Scaler(5))
    rivals.learn(X[:0])
    for _ in range(5):
        rivals.learn(X)
    found = rivals.centroids()
    assert found.keys() == RIVALS.keys()
    for seeds in found.values():
        for centroids in seeds:
            assert centroids.shape == (CLUSTERS, 5)
    # k-means++ finds rows this far apart with any seed.
    for centroids in found["scikit-learn partial_fit"]:
        assert np.sort(centroids[:, 0]) == pytest.approx([0, 10, 20, 30, 40], abs=1)


def test_an_imputed_fit_is_the_batch_fit_when_all_is_known() -> None:
    X = rows()[:, :2]
    fit = batch_kmeans.fit(X, CLUSTERS, seed=1)
    imputed = imputed_fit(X, fit.mean, fit.weights)
    assert batch_kmeans.inertia(X, imputed, fit.weights) == pytest.approx(fit.inertia)


@pytest.mark.servers
def test_memory_measures_both_kinds_of_ids() -> None:
    table = memory.run(customers=300)
    assert [row[0] for row in table.rows] == ["12 characters", "UUIDs"]
    assert all(220 < int(row[1]) < int(row[3]) for row in table.rows)


def test_reading_is_told_of_kafka_pythons_own_time() -> None:
    table = reading.run(records=2_000, runs=1)
    assert [row[0] for row in table.rows] == ["kafka-python", "ours"]
    assert table.rows[0][1] == "1.00"


@pytest.mark.servers
def test_sending_compares_both_ways() -> None:
    table = sending.run(records=500, runs=1)
    assert [row[0] for row in table.rows] == ["one by one", "in batches"]
    assert table.rows[0][1:] == ("1.00", "1.00")


def test_the_program_prints_the_named_benches(
    measured: Table, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(program, "BENCHES", dict.fromkeys(("quality", "other"), lambda: measured))
    monkeypatch.setattr(sys, "argv", ["bench", "quality", "--json"])
    program.main()
    [line] = capsys.readouterr().out.splitlines()
    printed = json.loads(line)
    assert printed["bench"] == "quality"
    assert {"ours, by centroids", "ours, by labels"} < {row[""] for row in printed["rows"]}


def test_the_program_refuses_an_unknown_bench(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["bench", "speed"])
    with pytest.raises(SystemExit):
        program.main()
    assert f"no bench speed; there are {', '.join(program.BENCHES)}" in capsys.readouterr().err


def test_quality_is_the_first_bench() -> None:
    assert next(iter(program.BENCHES)) == "quality"


def test_a_table_is_aligned_and_says_what_was_not_met() -> None:
    table = Table("Speed", ("", "events/s"))
    table.add("a long name", "5")
    table.add("b", "1,000")
    table.goal(">= 10", met=False)
    lines = table.lines()
    assert len({len(line) for line in lines[1:4]}) == 1
    assert lines[-1].endswith("goal >= 10: NOT met")


def test_keys_and_contents_are_hashed_in_a_small_part_of_the_time_of_decoding() -> None:
    measured = partitioning.run(events=2_000, runs=3)
    assert [row[0].split(" ")[0] for row in measured.rows] == [
        *("decoding,", "of", "of", "deduplication,")
    ]
    assert all(float(row[1]) > 0 for row in measured.rows)
    assert all(float(row[2]) < 1 for row in measured.rows[1:])
