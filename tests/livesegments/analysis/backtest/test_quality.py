"""Quality of a history's clusters against a batch fit of its current customers."""

import numpy as np
import pytest

from livesegments.analysis.backtest import quality as module
from livesegments.analysis.backtest.quality import (
    QualityMeter,
    label_means,
    labelled_inertia,
    ratio,
    reference,
)
from livesegments.model import batch_kmeans
from tests.livesegments.analysis.backtest.shop import events, feed, history, rows

STREAM = events(rows())
NAN = np.nan


def test_nothing_is_judged_without_a_model() -> None:
    assert QualityMeter()(history()) is None


def test_the_best_labels_are_as_good_as_the_fit() -> None:
    X = np.random.default_rng(0).normal(size=(200, 5))
    X[::3, 2] = NAN
    fit = reference(X, 5)
    assert labelled_inertia(X, fit.clusters, fit.weights, 5) == pytest.approx(fit.inertia)
    assert ratio(fit.inertia, fit.inertia, len(X)) == 1
    assert ratio(0.0, 0.0, 10) == 1


def test_means_are_over_known_values() -> None:
    X = np.array([[1.0, NAN], [3.0, 4.0], [NAN, 8.0]])
    means = label_means(X, np.array([0, 0, 1], np.int8), 5)
    assert means[0].tolist() == [2, 4]
    assert means[1].tolist() == [0, 8]
    assert means[-1].tolist() == [2, 6]


def test_a_margin_costs_quality_as_published_and_none_by_centroids() -> None:
    judged = {}
    for margin in (0.0, 0.6):
        found = history(switch_margin=margin)
        feed(found, STREAM)
        judged[margin] = QualityMeter()(found)
    free, held = judged[0.0], judged[0.6]
    assert free is not None
    assert held is not None
    assert free["by_centroids"] == held["by_centroids"]
    assert 0.99 < free["as_published"] < held["as_published"]


def test_histories_of_the_same_customers_share_the_batch_fit(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    fits = []

    def fit(X: module.Floats, k: int) -> batch_kmeans.Fit:
        fits.append(len(X))
        return reference(X, k)

    monkeypatch.setattr(module, "reference", fit)
    judge = QualityMeter()
    for days in (20, 20, 10):
        found = history(window_days=days, refit="off")
        feed(found, STREAM)
        assert judge(found) is not None
    assert len(fits) == 2
