"""Preview of a new fit of the current customers, before the service adopts it."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from livesegments.consumers.modelling.initial_fit import Drawn, Sample, draw_records, sample_of
from livesegments.consumers.modelling.refit import PARTS, Candidate, find_better, next_generation
from livesegments.consumers.scoring import score
from livesegments.domain import Model, ProcessingConfig
from livesegments.model.batch_kmeans import inertia
from livesegments.model.drift import centroid_shift, persona_distance
from livesegments.model.generation import Generation
from livesegments.model.naming import Segment
from livesegments.model.vectors import Counts, squared_distances
from livesegments.operations.customer_scan import scan
from livesegments.rendering.formats import known, number
from livesegments.store.deployment import Deployment
from livesegments.store.partitions import Partitions


@dataclass(frozen=True, slots=True)
class Proposal:
    """A new fit, compared with the generation that it would replace.

    Attributes
    ----------
    fit
        The new generation, with the number of the one it would replace.
    moves
        Customers (k + 1, k + 1) by published segment before and after, in the order of the
        segments; no segment is last.
    found
        The comparison, for JSON. ``sample`` and ``customers`` are the numbers of customers fitted
        and in all; ``inertia`` is the mean squared distance to the nearest centroid, in squared
        standard deviations, over all customers, and ``gain`` its relative reduction. For each
        segment: the one whose centroid is nearest now (``continues``), the customers of its
        cluster, and the distances of its centroid to the persona and between now and then, in
        standard deviations per feature.
    segments
        The segments, in the order of ``moves``.
    """

    fit: Generation
    moves: Counts
    found: dict[str, Any]
    segments: tuple[Segment, ...]

    @property
    def gain(self) -> float:
        """Relative reduction of the inertia."""
        return float(self.found["gain"])

    def lines(self) -> list[str]:
        """Return a text report."""
        found, names = self.found, {segment.id: segment.name for segment in self.segments}
        moving = found["moving"]
        wide = max(22, *(len(name) + 1 for name in names.values()))
        lines = [
            f"A fit of {found['sample']:,} of about {found['customers']:,} customers, compared with"
            f" generation {self.fit.number}:",
            f"inertia per customer {found['inertia']['now']:.4f} now,"
            f" {found['inertia']['new']:.4f} then:"
            f" {abs(self.gain):.2%} {'less' if self.gain >= 0 else 'more'}",
            "",
            f"{'Segment':{wide}}{'customers':>10}{'then':>9}{'persona':>9}{'then':>6}{'moves':>7}",
        ]
        for each in found["segments"]:
            size, persona = each["customers"], each["persona_distance"]
            was = each["continues"]
            lines.append(
                f"{names[each['id']]:{wide}}{size['now']:>10,}{size['new']:>9,}"
                f"{number(persona['now'], 2):>9}{number(persona['new'], 2):>6}"
                f"{number(each['shift'], 2):>7}"
                + ("" if was == each["id"] else f"  where {names[was]} is now")
            )
        headings = [*(segment.name.split()[0] for segment in self.segments), "none"]
        lines += [
            "(distance to the persona, and how far the centroid moves: standard deviations)",
            "",
            "Customers by published segment, now (rows) and then (columns)",
            " " * wide + "".join(f"{heading[:11]:>12}" for heading in headings),
        ]
        for name, row in zip([*names.values(), "no segment"], self.moves, strict=True):
            lines.append(f"{name:{wide}}" + "".join(f"{n:>12,}" for n in row.tolist()))
        share = moving / max(int(self.moves.sum()), 1)
        return [*lines, f"{moving:,} customers would change segment ({share:.1%})"]


def propose(
    store: Partitions,
    deployment: Deployment,
    before: Model,
    rules: ProcessingConfig,
    *,
    everyone: bool = False,
) -> Proposal:
    """Fit the current customers, as the worker's refit check does, and predict their moves.

    With ``everyone`` the fit is of all customers instead of a sample: exact, but slow.

    Raises
    ------
    ValueError
        If there are fewer distinct customers than clusters.
    UnsettledError
        If all customers are to be fitted and a recovery is under way.
    """
    buyers = int(before.statistics.members.sum())
    drawn = (
        None if everyone else list(draw_records(store, deployment.partitions, rules, buyers, PARTS))
    )

    def batches() -> Iterable[Drawn]:
        if drawn is not None:
            return drawn
        return ((each.records, each.clock_us, 1.0) for each in scan(store, deployment))

    segmentation, sample = rules.segmentation, sample_of(batches(), rules)
    candidate = find_better(sample, before, seed=before.generation.number)
    segments = segmentation.segments
    fit = next_generation(candidate, before, before.generation.number, segments)
    model = Model.of(segmentation.estimator(fit), rules.segment_ids)
    moves = np.zeros((len(segments) + 1,) * 2)
    for records, clock_us, weight in batches():
        # As the takeover would move them; segment -1 (none) indexes the last row or column.
        tile = rules.layout.tile(clock_us)
        then = score(records, tile, clock_us, model, rules).segment
        np.add.at(moves, (records["segment"], then), weight)
    counts = moves.round().astype(np.int64)
    found = _compare(model, candidate, sample, before, counts, segments)
    return Proposal(fit, counts, found, segments)


def _compare(
    model: Model,
    candidate: Candidate,
    sample: Sample,
    before: Model,
    moves: Counts,
    segments: tuple[Segment, ...],
) -> dict[str, Any]:
    fit, after, today = model.generation, model.snapshot, before.snapshot
    was = before.generation.segments
    old = [was.index(segment) for segment in fit.segments]
    nearest = squared_distances(after.centroids, today.centroids, after.weights).argmin(axis=1)
    rows, fitted = len(sample.vectors), sum(fit.sizes)
    now = inertia(sample.vectors, today.centroids, candidate.fit.weights)
    persona_now = persona_distance(today.zscores(today.centroids), was, segments)[old]
    persona_new = persona_distance(after.zscores(after.centroids), fit.segments, segments)
    shift = centroid_shift(after.centroids, today.centroids[old], after.weights)
    names = [*(segment.id for segment in segments), None]
    return {
        "replaces": fit.number,
        "sample": fitted,
        "customers": round(sample.customers),
        "inertia": {
            "now": round(now / rows, 6),
            "new": round(now / rows * (1 - candidate.gain), 6),
        },
        "gain": round(candidate.gain, 6),
        "segments": [
            {
                "id": segment,
                "continues": was[int(nearest[i])],
                "customers": {
                    "now": int(before.statistics.members[old[i]]),
                    "new": round(fit.sizes[i] * sample.customers / fitted),
                },
                "persona_distance": {"now": known(persona_now[i]), "new": known(persona_new[i])},
                "shift": known(shift[i]),
            }
            for i, segment in enumerate(fit.segments)
        ],
        "moves": [
            {"from": names[a], "to": names[b], "customers": int(moves[a, b])}
            for a, b in np.argwhere(moves).tolist()
            if a != b
        ],
        "moving": int(moves.sum() - np.trace(moves)),
    }
