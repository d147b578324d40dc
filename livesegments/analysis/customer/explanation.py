"""Reasons for a customer's segment, and the smallest changes that would move them, for JSON."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from livesegments.consumers.scoring import NONE, Scores, score
from livesegments.contracts.timestamps import rfc3339
from livesegments.domain import Model, ProcessingConfig
from livesegments.features.aggregate import advance
from livesegments.features.record_codec import Records
from livesegments.features.window import window
from livesegments.model.counterfactuals import Axis, contributions, goes_to, smallest_change
from livesegments.rendering.formats import known

MOST_PURCHASES = 1_000

Json = dict[str, Any]


@dataclass(frozen=True)
class Explanation:
    """One customer compared with the model.

    Attributes
    ----------
    record
        (1,) of the customer.
    refs
        Segments by index; the last is None.
    """

    record: Records
    model: Model
    config: ProcessingConfig
    clock_us: int
    refs: Sequence[Json | None]

    @cached_property
    def scores(self) -> Scores:
        """Scores of the customer at the clock."""
        tile = self.config.layout.tile(self.clock_us)
        return score(self.record, tile, self.clock_us, self.model, self.config)

    @property
    def counted(self) -> bool:
        """True if the customer has a purchase in the window and consents to profiling."""
        return bool(self.scores.counted[0])

    @property
    def _published(self) -> int:
        """Cluster of the published segment, or else the nearest."""
        segment = int(self.record["segment"][0])
        nearest = int(self.scores.assignment.clusters[0])
        return nearest if segment == NONE else int(self.model.cluster_of_segment[segment])

    @property
    def _runner_up(self) -> int:
        """Nearest cluster other than the published one."""
        others = self.scores.assignment.distances[0].copy()
        others[self._published] = np.inf
        return int(others.argmin())

    def _ref(self, cluster: int) -> Json | None:
        return self.refs[int(self.model.segment_of_cluster[cluster])]

    def why(self) -> Json:
        """Return the distances, and the contribution of each feature."""
        model, scores = self.model, self.scores
        view, distances = model.snapshot, scores.assignment.distances[0]
        own = int(scores.assignment.clusters[0])
        published, other = self._published, self._runner_up
        parts = contributions(scores.vectors[0], view.centroids, view.weights)
        totals = np.maximum(parts.sum(axis=1), np.finfo(float).tiny)
        natural = self.config.segmentation.natural
        values, places = natural(scores.vectors)[0], natural(view.centroids)
        z, places_z = view.zscores(scores.vectors)[0], view.zscores(view.centroids)

        def part(feature: int, cluster: int) -> Json:
            return {
                "centroid": known(places[cluster, feature], 4),
                "z_score": known(places_z[cluster, feature], 4),
                "share": round(float(parts[cluster, feature] / totals[cluster]), 4),
            }

        recorded = int(self.record["cluster"][0])
        same_generation = self.record["generation"][0] == model.generation.number
        return {
            "of": self._ref(published),
            "nearest": self._ref(own),
            "cluster": own,
            "recorded_cluster": recorded if recorded != NONE and same_generation else None,
            "runner_up": self._ref(other),
            "distances": sorted(
                (
                    {"segment": self._ref(cluster), "distance": round(float(distance), 4)}
                    for cluster, distance in enumerate(distances)
                ),
                key=lambda each: float(each["distance"]),
            ),
            "features": [
                {
                    "feature": name,
                    "value": known(values[i], 4),
                    "z_score": known(z[i], 4),
                    "own": part(i, published),
                    "runner_up": part(i, other),
                }
                for i, name in enumerate(self.config.segmentation.feature_names)
            ],
            "margin": self._margin(distances[published], distances[other]),
        }

    def _margin(self, own: float, other: float) -> Json:
        scores = self.scores
        held = (
            "margin" if scores.held_by_margin[0] else "dwell" if scores.held_by_dwell[0] else None
        )
        ends_us = int(self.record["since"][0]) + self.config.switching.min_dwell_us
        dwells = self.record["segment"][0] != NONE and ends_us > self.clock_us
        return {
            "nearer_by": round(float(1 - other / own), 4) if own > 0 else None,
            "needed": self.config.switching.margin,
            "held_by": held,
            "dwells_until": instant(ends_us) if dwells else None,
        }

    def outlook(self) -> Json:
        """Return the changes that would move a customer out of a segment."""
        due = int(self.scores.segment[0])
        return {
            "when_next_scored": self.refs[due],
            "moves_when_next_scored": due != int(self.record["segment"][0]),
            "purchases_like_theirs": self.more_purchases() if self.counted else None,
            "one_feature": self.feature_changes() if self.counted else [],
            "time_alone": self.expiries(),
        }

    def feature_changes(self) -> list[Json]:
        """Return the smallest change of each feature that makes another segment win, if any does.

        Also the change that makes the runner-up win, where a smaller one makes a third segment win.
        Everything else is unchanged; values are in natural units. Money that refunds take below 0
        counts as 0, and has to be made up for first.
        """
        row, view, margin = (
            self.scores.vectors[0],
            self.model.snapshot,
            self.config.switching.margin,
        )
        found = []
        spend = min(int(self.scores.window.cents[0]), 0) / 100
        below = {"spend": spend, "basket": spend / max(int(self.scores.window.purchases[0]), 1)}
        for feature, spec in enumerate(self.config.segmentation.features):
            if np.isnan(row[feature]):
                continue
            step, most = spec.steps(self.config.layout)
            axis = Axis(step, spec.least, most, spec.scale.forward, spec.scale.backward)
            now = float(np.round(axis.backward(row[feature]), 6))
            then = {
                target: value
                for target in self._others()
                if (
                    value := smallest_change(
                        row, feature, axis, self._published, target, view, margin
                    )
                )
                is not None
            }
            ordered = sorted(then, key=lambda t: abs(then[t] - now))
            really = now + round(below.get(spec.name, 0.0), 6)
            found += [
                {
                    "feature": spec.name,
                    "from": really,
                    "to": then[target],
                    "change": round(then[target] - really, 4) if then[target] != now else 0.0,
                    "segment": self._ref(target),
                }
                for target in ordered
                if target in (ordered[0], self._runner_up)
            ]
        return found

    def _others(self) -> list[int]:
        return [
            each for each in range(len(self.model.snapshot.centroids)) if each != self._published
        ]

    def more_purchases(self) -> Json | None:
        """Return the further purchases of the mean amount that would move a customer now.

        None if a thousand would not.
        """
        config, scores, published = self.config, self.scores, self._published
        purchases, cents = int(scores.window.purchases[0]), int(scores.window.cents[0])
        each = round(max(cents, 0) / purchases)
        more = np.arange(1, MOST_PURCHASES + 1)
        tile = config.layout.tile(self.clock_us)
        records = np.repeat(self.record, len(more))
        advance(records, np.full(len(more), tile))
        records["counts"][:, tile % config.layout.tiles] += more
        records["cents"][:, tile % config.layout.tiles] += more * each
        rows = config.segmentation.vectors(records, window(records, tile, config.layout))
        view, margin = self.model.snapshot, config.switching.margin
        firsts = {
            target: int(more[works.argmax()])
            for target in self._others()
            if (works := goes_to(rows, published, target, view, margin)).any()
        }
        if not firsts:
            return None
        target = min(firsts, key=lambda t: firsts[t])
        return {"purchases": firsts[target], "spend_each": each / 100, "segment": self._ref(target)}

    def expiries(self) -> list[Json]:
        """Follow a customer without further purchases until the window is empty.

        The model does not change. Each moment is the start of a tile at which a purchase leaves the
        window or the segment changes, with the purchases left and the segment from then on.
        """
        record, layout = self.record.copy(), self.config.layout
        moments: list[Json] = []
        now = layout.tile(self.clock_us)
        left = window(record, now, layout)
        for tile in range(now + 1, int(record["head"][0]) + layout.tiles + 1):
            time_us = layout.end(tile - 1)
            scores = score(record, tile, time_us, self.model, self.config)
            at, segment = scores.window, int(scores.segment[0])
            moves = segment != record["segment"][0]
            if moves or at.purchases[0] != left.purchases[0] or at.cents[0] != left.cents[0]:
                moments.append(
                    {
                        "at": instant(time_us),
                        "purchases": int(at.purchases[0]),
                        "spend": int(at.cents[0]) / 100,
                        "segment": self.refs[segment],
                    }
                )
            if moves:
                record["segment"], record["since"] = segment, time_us
            if segment == NONE:
                break
            left = at
        return moments


def instant(time_us: int) -> str:
    """Return a time in RFC 3339."""
    return rfc3339([time_us])[0]
