"""Clustering quality over a year: ours and other online k-means against batch fits.

Every method consumes the same stream: ours as events, the others as one vector per purchase, the
customer's state after the batch. Each is scored on all current customers (a purchase in the window)
by the inertia of its centroids relative to the best of 20 batch fits, with the same weights and
over known values only.
"""

from collections.abc import Sequence

import numpy as np

from bench.history import History, journey
from bench.report import Table
from bench.rivals import SEEDS, Floats, Rivals, Scaler, imputed_fit
from livesegments.analysis.backtest.quality import STARTS, labelled_inertia, reference
from livesegments.contracts.topics import PURCHASES
from livesegments.features.record_codec import Records, decode
from livesegments.features.window import window
from livesegments.model import batch_kmeans

Events = Sequence[tuple[str, bytes, bytes]]
Ratios = dict[str, list[float]]

BATCH, DATES = 250, 8
GOAL = 1.02
OURS = ("ours, by centroids", "ours, by labels")


def run(events: Events | None = None, batch: int = BATCH, warmup: int = 500) -> Table:
    """Replay the year through all methods and score them at eight dates, equally many events apart.

    Dates before the first fit are left out.
    """
    stream = list(journey() if events is None else events)
    history = History(warmup)
    rivals = Rivals(Scaler(len(history.config.segmentation.features)))
    marks = [len(stream) * i // DATES for i in range(1, DATES + 1)]
    judged: list[Ratios] = []
    unknown: list[float] = []
    generation, refitted = 0, 0
    for end in range(batch, len(stream) + batch, batch):
        part = stream[end - batch : end]
        history.take(part)
        rivals.learn(_bought(history, part))
        if history.model.generation and history.model.generation.number != generation:
            generation, refitted = history.model.generation.number, end
        if end >= marks[0]:
            marks = [mark for mark in marks if mark > end]
            if generation:
                judged.append(_judge(history, rivals))
                unknown.append(float(np.isnan(history.current().vectors).mean()))
    if not judged:
        raise ValueError(f"{len(stream)} events are too few for a first fit")
    table = _table(judged)
    every = _changes(stream, batch, warmup)
    table.note(f"generations: {len(history.generations)}, the last after {refitted:,} events")
    table.note(
        f"published changes: {len(history.changes):,} with a switch margin of 0.15,"
        f" {every:,} with 0"
    )
    table.note(f"values unknown: {np.median(unknown):.0%}; rivals get the mean in their place")
    worst = max(ratio for ratios in judged for name in OURS for ratio in ratios[name])
    table.goal(f"<= {GOAL} at every date, ours", worst <= GOAL)
    return table


def _bought(history: History, events: Events) -> Floats:
    names = [key.decode() for topic, key, _ in events if topic == PURCHASES]
    blobs = [history.records[name] for name in names if name in history.records]
    return _current(history, blobs)[0]


def _current(history: History, blobs: Sequence[bytes]) -> tuple[Floats, Records]:
    records = decode(blobs, history.config.record_shape)
    layout = history.config.layout
    at = window(records, layout.tile(history.state.checkpoint.clock_us), layout)
    counted = at.purchases > 0
    return history.config.segmentation.vectors(records, at)[counted], records[counted]


def _judge(history: History, rivals: Rivals) -> Ratios:
    model = history.model.model({0: history.state})
    assert model is not None
    X, records = _current(history, list(history.records.values()))
    best = reference(X, len(model.snapshot.centroids))
    by_centroids, by_labels = OURS
    found = {
        by_centroids: [batch_kmeans.inertia(X, model.snapshot.centroids, best.weights)],
        by_labels: [labelled_inertia(X, records["cluster"], best.weights, len(best.centroids))],
    }
    imputed = imputed_fit(X, best.mean, best.weights)
    others = {"batch fit with the mean for unknown": [imputed], **rivals.centroids()}
    for name, seeds in others.items():
        found[name] = [batch_kmeans.inertia(X, centroids, best.weights) for centroids in seeds]
    return {name: [each / best.inertia for each in of] for name, of in found.items()}


def _table(judged: Sequence[Ratios]) -> Table:
    table = Table(
        f"Quality: inertia at {len(judged)} dates relative to batch k-means (best of {STARTS});"
        f" scikit-learn and Spark's rule with {len(SEEDS)} seeds",
        ("", "min", "median", "max"),
    )
    for name in judged[0]:
        over = [ratio for ratios in judged for ratio in ratios[name]]
        table.add(name, *(f"{figure:.3f}" for figure in (min(over), np.median(over), max(over))))
    return table


def _changes(stream: Events, batch: int, warmup: int) -> int:
    """Return the number of changes when the nearest centroid always wins."""
    history = History(warmup, margin=0.0)
    for start in range(0, len(stream), batch):
        history.take(stream[start : start + batch])
    return len(history.changes)
