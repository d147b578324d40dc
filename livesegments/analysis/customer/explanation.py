"""Reasons for a customer's segment, and changes that would move them, as plain values."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from livesegments.analysis.customer.counterfactuals import (
    expiries,
    feature_changes,
    more_purchases,
    rival,
)
from livesegments.consumers.scoring import NONE, Scores
from livesegments.contracts.timestamps import rfc3339
from livesegments.domain import Model, ProcessingConfig
from livesegments.features.record_codec import Records
from livesegments.model.counterfactuals import contributions
from livesegments.rendering.formats import known

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Explanation:
    """One customer compared with the model.

    Attributes
    ----------
    record, scores
        Of the one customer, at ``clock_us``.
    model, config
        Of the decisions.
    refs
        Segments by index; the last is None.
    """

    record: Records
    scores: Scores
    model: Model
    config: ProcessingConfig
    clock_us: int
    refs: Sequence[Json | None]

    @property
    def counted(self) -> bool:
        """True if the customer has a purchase in the window and consents to profiling."""
        return bool(self.scores.counted[0])

    @property
    def _published(self) -> int:
        return int(self.record["segment"][0])

    def _cluster(self, segment: int) -> int:
        return int(self.model.cluster_of_segment[segment])

    def why(self) -> Json:
        """Return the distances, and the contribution of each feature."""
        model, scores = self.model, self.scores
        view, distances = model.snapshot, scores.assignment.distances[0]
        own = int(scores.assignment.clusters[0])
        published = own if self._published == NONE else self._cluster(self._published)
        other = rival(published, distances)
        parts = contributions(scores.vectors[0], view.centroids, view.weights)
        totals = np.maximum(parts.sum(axis=1), np.finfo(float).tiny)
        natural = self.config.segmentation.natural
        values, places = natural(scores.vectors)[0], natural(view.centroids)
        z, places_z = view.zscores(scores.vectors)[0], view.zscores(view.centroids)

        def ref(cluster: int) -> Json | None:
            return self.refs[int(model.segment_of_cluster[cluster])]

        def part(feature: int, cluster: int) -> Json:
            return {
                "centroid": known(places[cluster, feature], 4),
                "z_score": known(places_z[cluster, feature], 4),
                "share": round(float(parts[cluster, feature] / totals[cluster]), 4),
            }

        recorded = int(self.record["cluster"][0])
        same_generation = self.record["generation"][0] == model.generation.number
        return {
            "of": ref(published),
            "nearest": ref(own),
            "cluster": own,
            "recorded_cluster": recorded if recorded != NONE and same_generation else None,
            "runner_up": ref(other),
            "distances": sorted(
                (
                    {"segment": ref(cluster), "distance": round(float(distance), 4)}
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
        dwells = self._published != NONE and ends_us > self.clock_us
        return {
            "nearer_by": round(float(1 - other / own), 4) if own > 0 else None,
            "needed": self.config.switching.margin,
            "held_by": held,
            "dwells_until": instant(ends_us) if dwells else None,
        }

    def outlook(self) -> Json:
        """Return the changes that would move a customer out of a segment."""
        model, scores, config = self.model, self.scores, self.config
        published = self._cluster(self._published)
        bought = (
            more_purchases(self.record, self.clock_us, scores, published, model, config)
            if self.counted
            else None
        )
        features = feature_changes(scores, published, model, config) if self.counted else []
        due = int(scores.segment[0])
        moments = expiries(self.record, self.clock_us, model, config)
        return {
            "when_next_scored": self.refs[due],
            "moves_when_next_scored": due != self._published,
            "purchases_like_theirs": bought
            and {
                "purchases": bought.purchases,
                "spend_each": bought.cents_each / 100,
                "segment": self.refs[bought.segment],
            },
            "one_feature": [
                {
                    "feature": each.feature,
                    "from": each.now,
                    "to": each.then,
                    "change": round(each.then - each.now, 4),
                    "segment": self.refs[each.segment],
                }
                for each in features
            ],
            "time_alone": [
                {
                    "at": instant(each.time_us),
                    "purchases": each.purchases,
                    "spend": each.cents / 100,
                    "segment": self.refs[each.segment],
                }
                for each in moments
            ],
        }


def instant(time_us: int) -> str:
    """Return a time in RFC 3339."""
    return rfc3339([time_us])[0]
