"""Preview of a new fit of the current customers, before the service adopts it."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import Any

import numpy as np
from numpy.typing import NDArray

from livesegments.consumers.modelling.initial_fit import SAMPLE, Sample
from livesegments.consumers.modelling.refit import Candidate, find_better, next_generation
from livesegments.consumers.scoring import score
from livesegments.contracts.segments import DIMENSIONS
from livesegments.domain import Model, ProcessingConfig, estimator
from livesegments.features.feature_specs import vectors
from livesegments.features.record_codec import Records, decode, may_be_profiled
from livesegments.features.window import reaches_back, window
from livesegments.model.batch_kmeans import inertia
from livesegments.model.distance import squared_distances
from livesegments.model.drift import centroid_shift, persona_distance
from livesegments.model.generation import Generation
from livesegments.model.personas import Persona
from livesegments.store.partitions import Partitions

CHUNK = 5_000
Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Stretch:
    """A batch of records of one partition, its clock, and the number of customers per record."""

    records: Records
    clock_us: int
    weight: float


@dataclass(frozen=True, slots=True)
class Proposal:
    """A new fit, compared with the generation that it would replace.

    Attributes
    ----------
    fit
        The new generation, with the number of the one it would replace.
    rows, customers
        Number of customers fitted, and estimated total.
    inertia_now, inertia_new
        Mean squared distance to the nearest centroid, in squared standard deviations.
    gain
        Relative reduction of the inertia.
    moves
        Customers (6, 6) by published segment before and after, in the order of the personas; no
        segment is last.
    sizes_now, sizes_new
        Customers (5,) in each segment's cluster before and after, in the order of
        ``fit.segments``, as are the following attributes.
    persona_now, persona_new
        Distances (5,) of each segment's centroid to its persona, in standard deviations per
        feature.
    shift
        Distance (5,) that each segment's centroid moves, in the same unit.
    continues
        The segment whose current centroid is nearest to the new one.
    personas
        The personas, in the order of ``moves``.
    """

    fit: Generation
    rows: int
    customers: int
    inertia_now: float
    inertia_new: float
    gain: float
    moves: NDArray[np.int64]
    sizes_now: list[int]
    sizes_new: list[int]
    persona_now: Floats
    persona_new: Floats
    shift: Floats
    continues: list[str]
    personas: tuple[Persona, ...]

    @property
    def moving(self) -> int:
        """Number of customers whose published segment would change."""
        return int(self.moves.sum() - np.trace(self.moves))

    def to_dict(self) -> dict[str, Any]:
        """Return plain data for JSON."""
        names = [*(persona.id for persona in self.personas), None]
        return {
            "replaces": self.fit.number,
            "sample": self.rows,
            "customers": self.customers,
            "inertia": {"now": round(self.inertia_now, 6), "new": round(self.inertia_new, 6)},
            "gain": round(self.gain, 6),
            "segments": [
                {
                    "id": segment,
                    "continues": self.continues[i],
                    "customers": {"now": self.sizes_now[i], "new": self.sizes_new[i]},
                    "persona_distance": {
                        "now": _rounded(self.persona_now[i]),
                        "new": _rounded(self.persona_new[i]),
                    },
                    "shift": _rounded(self.shift[i]),
                }
                for i, segment in enumerate(self.fit.segments)
            ],
            "moves": [
                {"from": names[a], "to": names[b], "customers": int(self.moves[a, b])}
                for a, b in np.argwhere(self.moves).tolist()
                if a != b
            ],
            "moving": self.moving,
        }

    def lines(self) -> list[str]:
        """Return a text report."""
        names = {persona.id: persona.name for persona in self.personas}
        share = self.moving / max(int(self.moves.sum()), 1)
        lines = [
            f"A fit of {self.rows:,} of about {self.customers:,} customers, beside generation"
            f" {self.fit.number}:",
            f"inertia a customer {self.inertia_now:.4f} now, {self.inertia_new:.4f} then:"
            f" {self.gain:.2%} less",
            "",
            f"{'Segment':22}{'customers':>10}{'then':>9}{'persona':>9}{'then':>6}{'moves':>7}",
        ]
        for i, segment in enumerate(self.fit.segments):
            was = self.continues[i]
            lines.append(
                f"{names[segment]:22}{self.sizes_now[i]:>10,}{self.sizes_new[i]:>9,}"
                f"{self.persona_now[i]:>9.2f}{self.persona_new[i]:>6.2f}{self.shift[i]:>7.2f}"
                + ("" if was == segment else f"  where {names[was]} is now")
            )
        headings = [*(persona.name.split()[0] for persona in self.personas), "none"]
        lines += [
            "(distance to the persona, and how far the centroid moves: standard deviations)",
            "",
            "Customers by published segment, now (rows) and then (columns)",
            " " * 22 + "".join(f"{heading:>12}" for heading in headings),
        ]
        for persona, row in zip([*names.values(), "no segment"], self.moves, strict=True):
            lines.append(f"{persona:22}" + "".join(f"{n:>12,}" for n in row.tolist()))
        return [*lines, f"{self.moving:,} customers would change segment ({share:.1%})"]


def propose(
    store: Partitions,
    partitions: int,
    before: Model,
    rules: ProcessingConfig,
    *,
    everyone: bool = False,
) -> Proposal:
    """Fit the current customers, as the worker's refit check does, and predict their moves.

    Parameters
    ----------
    store, partitions
        The deployment.
    before
        The current model.
    rules
        The service's processing configuration.
    everyone
        Fit all customers instead of a sample: exact, but slow.

    Raises
    ------
    ValueError
        If there are fewer distinct customers than clusters.
    """
    stretches: Callable[[], Iterator[Stretch]] = (
        partial(_everyone, store, partitions, rules)
        if everyone
        else partial(iter, list(_sample(store, partitions, rules)))
    )
    parts: list[Floats] = []
    customers, full = 0.0, False
    for stretch in stretches():
        tile = rules.layout.tile(stretch.clock_us)
        at = window(stretch.records, tile)
        counted = (at.purchases > 0) & may_be_profiled(stretch.records)
        parts.append(vectors(stretch.records, at)[counted])
        customers += stretch.weight * np.count_nonzero(counted)
        full = full or reaches_back(stretch.records, tile)
    sample = Sample(np.concatenate(parts) if parts else np.empty((0, DIMENSIONS)), customers, full)
    number = before.generation.number
    candidate = find_better(sample, before, seed=number)
    fit = next_generation(candidate, before, number, rules.personas)
    model = Model.of(estimator(fit), rules.segment_ids)
    moves = np.zeros((len(rules.personas) + 1,) * 2)
    for stretch in stretches():
        moves += _moves(stretch, model, rules)
    return _compare(model, candidate, sample, before, moves, rules.personas)


def _compare(
    model: Model,
    candidate: Candidate,
    sample: Sample,
    before: Model,
    moves: Floats,
    personas: tuple[Persona, ...],
) -> Proposal:
    fit, after, today = model.generation, model.snapshot, before.snapshot
    was = before.generation.segments
    old = [was.index(segment) for segment in fit.segments]
    nearest = squared_distances(after.centroids, today.centroids, after.weights).argmin(axis=1)
    rows = len(sample.vectors)
    now = inertia(sample.vectors, today.centroids, candidate.fit.weights)
    return Proposal(
        fit=fit,
        rows=rows,
        customers=round(sample.customers),
        inertia_now=now / rows,
        inertia_new=candidate.fit.inertia / rows,
        gain=candidate.gain,
        moves=moves.round().astype(np.int64),
        sizes_now=before.statistics.members[old].tolist(),
        sizes_new=[round(size * sample.customers / rows) for size in fit.sizes],
        persona_now=persona_distance(today.zscores(today.centroids), was, personas)[old],
        persona_new=persona_distance(after.zscores(after.centroids), fit.segments, personas),
        shift=centroid_shift(after.centroids, today.centroids[old], after.weights),
        continues=[was[cluster] for cluster in nearest.tolist()],
        personas=personas,
    )


def _moves(stretch: Stretch, model: Model, rules: ProcessingConfig) -> Floats:
    """Return the customers (6, 6) by segment before and after, as the takeover would move them."""
    records, n = stretch.records, len(stretch.records)
    scores = score(
        records,
        np.full(n, rules.layout.tile(stretch.clock_us)),
        np.full(n, stretch.clock_us),
        model.kmeans,
        model.segment_of_cluster,
        rules.switching,
    )
    moves = np.zeros((len(rules.personas) + 1,) * 2)
    # Segment -1 (none) indexes the last row or column.
    np.add.at(moves, (records["segment"], scores.segment), stretch.weight)
    return moves


def _sample(store: Partitions, partitions: int, rules: ProcessingConfig) -> Iterator[Stretch]:
    sizes = store.sizes(range(partitions))
    total = sum(sizes)
    wanted = {p: -(-SAMPLE * size // total) for p, size in enumerate(sizes) if size}
    for partition, (progress, blobs) in store.sample(wanted).items() if wanted else ():
        if blobs:
            records = decode(blobs, rules.layout.tiles)
            yield Stretch(records, progress.clock_us, sizes[partition] / len(blobs))


def _everyone(store: Partitions, partitions: int, rules: ProcessingConfig) -> Iterator[Stretch]:
    for partition in range(partitions):
        progress = store.load(partition).progress
        customers = store.customers(partition)
        while chunk := list(islice(customers, CHUNK)):
            assert progress is not None
            records = decode([blob for _, blob in chunk], rules.layout.tiles)
            yield Stretch(records, progress.clock_us, 1.0)


def _rounded(value: float) -> float | None:
    return None if np.isnan(value) else round(float(value), 4)
