"""Clustering quality at any date, on data that no parameter was tuned for.

The inertia of all current customers, by our centroids and by the recorded labels, relative to the
best of 20 batch fits of the same customers. Dates are close together soon after the first fit, when
most customers are new, and a few weeks apart at the end.
"""

import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import islice

import numpy as np

from bench import streams
from bench.history import History, journey
from bench.report import Table
from bench.streams import Events
from livesegments.analysis.backtest.quality import labelled_inertia, ratio, reference
from livesegments.analysis.backtest.variants import unnamed
from livesegments.config.segmentation import built_in
from livesegments.contracts.topics import PURCHASES
from livesegments.model import batch_kmeans

Runs = dict[str, tuple[Callable[[], Events], int]]

DATES, GOAL = 16, 1.02
SMALL, USUAL, CATCHING_UP = 50, 250, 20_000


def _drawn(name: str) -> Events:
    return streams.draw(name).events()


def _shuffled() -> Events:
    return streams.shuffled(streams.draw("steady"), np.random.default_rng(0)).events()


RUNS: Runs = {
    **{name: (partial(_drawn, name), USUAL) for name in streams.STREAMS},
    "steady, shuffled within days": (_shuffled, USUAL),
    "steady, batches of 50": (partial(_drawn, "steady"), SMALL),
    "steady, batches of 20,000": (partial(_drawn, "steady"), CATCHING_UP),
    "growth, batches of 20,000": (partial(_drawn, "growth to 50,000"), CATCHING_UP),
    "Complete Journey": (journey, USUAL),
    "Complete Journey, batches of 50": (journey, SMALL),
    "Complete Journey, batches of 20,000": (journey, CATCHING_UP),
}


SEGMENTATIONS = {
    **{f"k={k}": unnamed(built_in("personas"), str(k)) for k in (2, 3, 8, 12)},
    "rfm": built_in("rfm"),
}
YEARS = ("Complete Journey", *streams.STREAMS)


def run(runs: Runs = RUNS, warmup: int = 500) -> Table:
    """Feed every stream and score it at its dates."""
    table = Table(
        f"Streams: inertia relative to batch k-means (best of 20), at up to {DATES} dates",
        ("", "dates", "centroids", "labels", "<= 1.02", "generations", "changes", "by model"),
    )
    worst = 0.0
    for name, (events, batch) in runs.items():
        print(f"streams: {name}", file=sys.stderr)
        history = History(warmup)
        found = list(follow(history, events(), batch))
        if not found:
            raise ValueError(f"{name}: no first fit")
        origins = Counter(origin for _, _, origin in history.changes)
        centroids = [ratios.by_centroids for ratios in found]
        labels = [ratios.by_labels for ratios in found]
        highest = max(*centroids, *labels)
        table.add(
            name,
            str(len(found)),
            f"{max(centroids):.3f} ({np.median(centroids):.3f})",
            f"{max(labels):.3f} ({np.median(labels):.3f})",
            "met" if highest <= GOAL else "NOT met",
            str(len(history.generations)),
            f"{origins.total():,}",
            f"{origins['model']:,}",
        )
        worst = max(worst, highest)
    table.note("the highest ratio of all dates, and their median; generations and changes a year")
    table.goal(f"<= {GOAL} at every date of every stream", worst <= GOAL)
    return table


def run_segmentations(dates: int = DATES, runs: Runs | None = None, warmup: int = 500) -> Table:
    """Score every year under other segmentations than the default, at its first dates."""
    chosen = {name: RUNS[name] for name in YEARS} if runs is None else runs
    table = Table(
        f"Segmentations: the highest inertia relative to batch k-means at the first {dates} of"
        f" {DATES} dates, by centroids / by labels",
        ("", *SEGMENTATIONS),
    )
    worst = [0.0, 0.0]
    for name, (events, batch) in chosen.items():
        stream, cells = events(), []
        for label, segmentation in SEGMENTATIONS.items():
            print(f"segmentations: {name}, {label}", file=sys.stderr)
            history = History(warmup, segmentation=segmentation)
            found = list(islice(follow(history, stream, batch), dates))
            both = [max(each.by_centroids for each in found), max(each.by_labels for each in found)]
            worst = [max(pair) for pair in zip(worst, both, strict=True)]
            cells.append(" / ".join(f"{each:.3f}" for each in both))
        table.add(name, *cells)
    for by, highest in zip(("centroids", "labels"), worst, strict=True):
        table.goal(f"<= {GOAL} at every date of every year, by {by}", highest <= GOAL)
    return table


@dataclass(frozen=True, slots=True)
class Ratios:
    """Inertia of our centroids, and of our recorded labels, relative to the best batch fit."""

    by_centroids: float
    by_labels: float
    customers: int


def follow(history: History, events: Events, batch: int) -> Iterator[Ratios]:
    """Feed a history and score it at its dates, as a worker without lag would have left it."""
    profiles = sum(topic != PURCHASES for topic, _, _ in events)
    dates: list[int] | None = None
    for end in range(batch, len(events) + batch, batch):
        history.take(events[end - batch : end])
        if history.model.generation is None or end <= profiles:
            continue
        if dates is None:
            dates = list(_dates(end, len(events)))
        if end >= dates[0]:
            dates = [date for date in dates if date > end] or [2 * len(events)]
            yield judge(history)


def judge(history: History) -> Ratios:
    """Score a history that has a model, on all current customers."""
    model, now = history.model.model({0: history.state}), history.population()
    assert model is not None
    X, k = now.vectors, len(model.snapshot.centroids)
    best = reference(X, k)
    return Ratios(
        ratio(
            batch_kmeans.inertia(X, model.snapshot.centroids, best.weights), best.inertia, len(X)
        ),
        ratio(labelled_inertia(X, now.cluster, best.weights, k), best.inertia, len(X)),
        len(X),
    )


def _dates(first: int, end: int) -> Iterable[int]:
    """Return positions after the first fit, at distances that grow as the cubes of equal steps."""
    return (first + round((end - first) * (i / DATES) ** 3) for i in range(1, DATES + 1))
