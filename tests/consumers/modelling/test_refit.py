"""A check finds a better fit when there is one, and reports one only then."""

import json
from dataclasses import replace

import numpy as np
import pytest

from livesegments.consumers.modelling.initial_fit import Sample, first_generation
from livesegments.consumers.modelling.refit import PARTS, Request, find_better, next_generation
from livesegments.domain import Model
from livesegments.model.batch_kmeans import inertia
from livesegments.model.generation import Generation
from tests.consumers.harness import MEAN, STD, generation, model_of
from tests.segmentations import PERSONAS, POSITIONS

SEGMENTS = generation().segments


def sample(rows: int = 400, seed: int = 0) -> Sample:
    """Customers around the five personas."""
    rng = np.random.default_rng(seed)
    places = MEAN + POSITIONS[np.arange(rows) % 5] * STD
    return Sample(places + rng.normal(size=(rows, 5)) * STD * 0.1, float(rows))


def collapsed() -> Model:
    """A model whose clusters are all at one persona."""
    rng = np.random.default_rng(1)
    fitted = Generation(
        number=1,
        centroids=MEAN + POSITIONS[2] * STD + rng.normal(size=(5, 5)) * 0.01,
        mean=MEAN,
        variance=STD**2,
        sizes=(1,) * 5,
        segments=SEGMENTS,
    )
    return model_of(fitted)


def test_a_collapsed_model_has_a_much_better_fit() -> None:
    assert find_better(sample(), collapsed(), seed=1).gain > 0.5


def test_a_model_at_its_best_has_none() -> None:
    best = first_generation(sample(), 1, PERSONAS)
    assert abs(find_better(sample(), model_of(best), seed=1).gain) < 0.005


def test_a_fit_of_few_customers_gains_nothing_over_the_many() -> None:
    rng = np.random.default_rng(2)
    everybody = Sample(rng.normal(size=(20_000, 5)), 20_000.0)
    model = model_of(first_generation(everybody, 1, PERSONAS))
    for seed in range(3):
        few = everybody.vectors[rng.choice(20_000, 600, replace=False)]
        assert find_better(Sample(few, 20_000.0), model, seed).gain < 0
        # On the sample itself its own fit is better, most of all in structureless data.
        assert find_better(Sample(few, 600.0), model, seed).gain > 0.02


@pytest.mark.parametrize("customers", [100_000, 5_000], ids=["a few of them", "most of them"])
def test_the_gain_is_that_for_all_customers(customers: int) -> None:
    """Rare customers with round numbers of purchases: the best clusters differ by the sample."""
    rng = np.random.default_rng(1)
    purchases = rng.poisson(0.8 * rng.lognormal(0, 1, customers)) + 1
    spend = purchases * rng.lognormal(3, 0.6, customers)
    everybody = np.full((customers, 5), np.nan)
    everybody[:, 0], everybody[:, 1] = np.log1p(purchases), np.log1p(spend)
    best = model_of(first_generation(Sample(everybody[:30_000], 3e4), 1, PERSONAS))
    gains, true = [], []
    for seed in range(12):
        drawn = everybody[rng.choice(customers, PARTS * 1_000, replace=False)]
        found = find_better(Sample(drawn, customers), best, seed)
        now, new = (
            inertia(everybody, each, found.fit.weights)
            for each in (best.snapshot.centroids, found.fit.completed)
        )
        gains.append(found.gain)
        true.append(1 - new / now)
    assert max(gains) < 0.0125, "the best clusters stay though others are nearly as good"
    assert np.mean(gains) == pytest.approx(np.mean(true), abs=0.005)


def test_what_is_nearly_nothing_cannot_be_bettered() -> None:
    exact = Sample(np.repeat(MEAN + POSITIONS * STD, 40, axis=0), 200.0)
    fitted = first_generation(exact, 1, PERSONAS)
    nudged = model_of(replace(fitted, centroids=fitted.centroids + 1e-6 * STD))
    assert find_better(exact, nudged, seed=1).gain < 0.001


def test_the_next_generation_names_clusters_after_what_they_are() -> None:
    model = collapsed()
    after = next_generation(find_better(sample(), model, seed=1), model, 7, PERSONAS.segments)
    assert after.number == 7
    for persona, place in zip(SEGMENTS, MEAN + POSITIONS * STD, strict=True):
        nearest = np.abs((after.centroids - place) / STD).sum(axis=1).argmin()
        assert after.segments[nearest] == persona


def test_names_that_have_come_to_say_what_is_not_so_are_given_afresh() -> None:
    fitted = first_generation(sample(), 1, PERSONAS)
    swapped = list(fitted.segments)
    old, young = swapped.index("retirees"), swapped.index("students")
    swapped[old], swapped[young] = swapped[young], swapped[old]
    model = model_of(replace(fitted, segments=tuple(swapped)))
    after = next_generation(find_better(sample(), model, seed=1), model, 2, PERSONAS.segments)
    for persona, place in zip(SEGMENTS, MEAN + POSITIONS * STD, strict=True):
        nearest = np.abs((after.centroids - place) / STD).sum(axis=1).argmin()
        assert after.segments[nearest] == persona


def test_clusters_that_stayed_keep_their_names() -> None:
    before = first_generation(sample(seed=3), 1, PERSONAS)
    model = model_of(before)
    after = next_generation(find_better(sample(seed=4), model, seed=2), model, 2, PERSONAS.segments)
    for cluster, segment in enumerate(after.segments):
        old = np.abs((before.centroids - after.centroids[cluster]) / STD).sum(axis=1).argmin()
        assert before.segments[old] == segment


class TestRequest:
    """A fit waiting in the store."""

    def test_it_comes_back_as_it_was_put(self) -> None:
        request = Request(4, first_generation(sample(), 4, PERSONAS))
        again = Request.from_bytes(request.to_bytes(), PERSONAS)
        assert again == request
        assert again.is_for(request.numbered(9))
        assert not again.is_for(first_generation(sample(seed=5), 9, PERSONAS))

    @pytest.mark.parametrize(
        "data",
        [
            b"",
            b"no json",
            b"[]",
            b"{}",
            b'{"replaces": 1, "fit": 2}',
            b'{"replaces": 1, "fit": {}}',
            json.dumps({"replaces": "x", "fit": generation().to_dict()}).encode(),
            Request(1, generation()).to_bytes().replace(b"families", b"somebody"),
            Request(
                1,
                replace(
                    generation(),
                    centroids=MEAN[None, :4] + np.eye(5)[:, :4],
                    mean=MEAN[:4],
                    variance=STD[:4],
                ),
            ).to_bytes(),
        ],
    )
    def test_what_is_none_is_refused(self, data: bytes) -> None:
        with pytest.raises(ValueError, match=r"request|clusters"):
            Request.from_bytes(data, PERSONAS)


def test_a_fit_of_full_windows_replaces_a_provisional_one_without_any_gain() -> None:
    full, filling = sample(), replace(sample(), full=False)
    provisional, settled = (first_generation(each, 1, PERSONAS) for each in (filling, full))
    assert (provisional.provisional, settled.provisional) == (True, False)
    same = find_better(full, model_of(provisional), seed=1)
    assert same.gain < 0.02
    assert same.replaces(provisional, 0.02)
    assert not same.replaces(settled, 0.02)
    assert not replace(same, sample=filling).replaces(provisional, 0.02)
    assert replace(same, gain=0.03).replaces(settled, 0.02)


def test_the_next_generation_keeps_how_features_are_distributed() -> None:
    drawn, model = sample(), collapsed()
    after = next_generation(find_better(drawn, model, seed=1), model, 7, PERSONAS.segments)
    assert after.histograms == drawn.histograms()
    assert [each.psi(x) for each, x in zip(after.histograms, drawn.vectors.T, strict=True)] == [
        *(0, 0, 0, 0, 0)
    ]
