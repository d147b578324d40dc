"""What is told of a customer: plain values, as `livesegments customer --json` writes them."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from consumers.rules import Model
from consumers.scoring import NONE, Scores, Switching, score
from contracts.instants import rfc3339
from features.record import NEVER
from features.vector import FEATURES, natural
from features.window import window
from livesegments.customer.found import Found
from livesegments.customer.history import History
from livesegments.customer.outlook import baskets, by_time, rival, shifts
from model.explanation import contributions

Json = dict[str, Any]
Status = Literal["assigned", "unassigned", "erased", "suppressed"]
_LOCATIONS = {0.0: "rural", 0.5: "suburban", 1.0: "urban"}
_CONSENTS = {-1: None, 0: False, 1: True}


@dataclass(frozen=True, slots=True)
class Answer:
    """All that is told; of who was erased or is suppressed no more than that.

    Attributes
    ----------
    because
        Why there is no segment: ``consent``, ``no_purchase``, ``no_model``, or ``not_scored``
        as yet.
    as_of
        The clock of the customer's partition, at which the window ends.
    erased_before
        What was before counts no more, by a request.
    segment, since, version
        As published last.
    model
        The generation, and the one the customer was last scored under.
    why
        Distances, and what each feature does to them.
    outlook
        What would move the customer.
    """

    customer_id: str
    status: Status
    because: str | None = None
    partition: int | None = None
    as_of: str | None = None
    erased_before: str | None = None
    segment: Json | None = None
    since: str | None = None
    version: int | None = None
    window: Json | None = None
    profile: Json | None = None
    consent: Json | None = None
    model: Json | None = None
    why: Json | None = None
    outlook: Json | None = None
    history: Json | None = None

    def to_dict(self) -> Json:
        """Return it for JSON."""
        if self.status in ("erased", "suppressed"):
            return {"customer_id": self.customer_id, "status": self.status}
        return asdict(self)


def nothing_kept(found: Found) -> Answer | None:
    """Return the answer of who is suppressed or erased, None of anybody else."""
    if found.marker.suppressed or found.record["suppressed"][0]:
        return Answer(found.customer_id, "suppressed")
    return Answer(found.customer_id, "erased") if found.is_empty else None


def answer(
    found: Found,
    model: Model | None,
    switching: Switching,
    names: Mapping[str, str],
    clock_us: int,
    history: History | None,
) -> Answer:
    """Put together what is told of a customer of whom something is kept.

    Parameters
    ----------
    found
        What the store has.
    model, switching
        What decides; None during the warm-up.
    names
        Of segments, by their ids.
    clock_us
        The clock of the customer's partition.
    history
        None when it was not asked for.
    """
    return _Telling(found, model, switching, names, clock_us).answer(history)


class _Telling:
    def __init__(
        self,
        found: Found,
        model: Model | None,
        switching: Switching,
        names: Mapping[str, str],
        clock_us: int,
    ) -> None:
        self.found, self.model, self.switching = found, model, switching
        self.clock_us = clock_us
        self.refs: list[Json | None] = [
            {"id": each, "name": names.get(each, each)} for each in found.deployment.segments
        ]
        self.refs.append(None)  # index NONE
        self.record = found.record[0]
        self.published = int(self.record["segment"])

    def answer(self, history: History | None) -> Answer:
        found, record = self.found, self.record
        scores = self._score(self.model) if self.model else None
        because = None if self.published != NONE else self._because(scores)
        return Answer(
            customer_id=found.customer_id,
            status="unassigned" if self.published == NONE else "assigned",
            because=because,
            partition=found.partition,
            as_of=_time(self.clock_us),
            erased_before=_time(found.marker.cutoff_us) if found.marker.cutoff_us else None,
            segment=self.refs[self.published],
            since=_time(int(record["since"])) if self.published != NONE else None,
            version=int(record["version"]) or None,
            window=self._window(),
            profile=self._profile(),
            consent={
                "marketing": _CONSENTS[int(record["marketing"])],
                "profiling": _CONSENTS[int(record["profiling"])],
            },
            model=self._model(),
            why=self._why(scores),
            outlook=self._outlook(scores),
            history=None if history is None else _history(history),
        )

    def _score(self, model: Model) -> Scores:
        return score(
            self.found.record,
            np.array([self.found.layout.tile(self.clock_us)]),
            np.array([self.clock_us]),
            model.view,
            model.segment_of_cluster,
            self.switching,
        )

    def _because(self, scores: Scores | None) -> str:
        if self.record["profiling"] == 0:
            return "consent"
        if not self._window()["purchases"]:
            return "no_purchase"
        return "no_model" if scores is None else "not_scored"

    def _profile(self) -> Json:
        record = self.record
        updated = int(record["profile_updated"])
        return {
            "age": _known(record["age"], 2),
            "income": _known(record["income"], 2),
            "location": _LOCATIONS.get(float(record["urbanicity"])),
            "updated_at": None if updated == NEVER else _time(updated),
        }

    def _model(self) -> Json | None:
        if self.model is None:
            return None
        return {
            "generation": self.model.generation.number,
            "scored_under": int(self.record["generation"]) or None,
            "provisional": self.model.generation.provisional,
        }

    def _window(self) -> Json:
        layout, record = self.found.layout, self.found.record
        clock_tile = layout.tile(self.clock_us)
        at = window(record, clock_tile)
        head, slots = int(self.record["head"]), layout.tiles
        tiles = [
            {
                "from": _time(layout.end(tile - 1)),
                "until": _time(layout.end(tile)),
                "leaves": _time(layout.end(tile + slots - 1)),
                "purchases": int(self.record["counts"][tile % slots]),
                "spend": int(self.record["cents"][tile % slots]) / 100,
            }
            for tile in range(clock_tile - slots + 1, head + 1)
            if self.record["counts"][tile % slots] or self.record["cents"][tile % slots]
        ]
        return {
            "days": layout.window_days,
            "tile_days": layout.window_days / layout.tiles,
            "purchases": int(at.purchases[0]),
            "spend": int(at.cents[0]) / 100,
            "currency": self.found.deployment.currency,
            "tiles": tiles,
        }

    def _why(self, scores: Scores | None) -> Json | None:
        model = self.model
        if model is None or scores is None or not scores.counted[0]:
            return None
        view, distances = model.view, scores.assignment.distances[0]
        cluster_of = np.argsort(model.segment_of_cluster)
        own = int(scores.assignment.clusters[0])
        published = own if self.published == NONE else int(cluster_of[self.published])
        other = rival(published, distances)
        parts = contributions(scores.vectors[0], view.centroids, view.weights)
        totals = np.maximum(parts.sum(axis=1), np.finfo(float).tiny)
        values, places = natural(scores.vectors)[0], natural(view.centroids)
        z, places_z = view.zscores(scores.vectors)[0], view.zscores(view.centroids)

        def ref(cluster: int) -> Json | None:
            return self.refs[int(model.segment_of_cluster[cluster])]

        def part(feature: int, cluster: int) -> Json:
            return {
                "centroid": _known(places[cluster, feature], 4),
                "z_score": _known(places_z[cluster, feature], 4),
                "share": round(float(parts[cluster, feature] / totals[cluster]), 4),
            }

        recorded = int(self.record["cluster"])
        same_generation = self.record["generation"] == model.generation.number
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
                    "value": _known(values[i], 4),
                    "z_score": _known(z[i], 4),
                    "own": part(i, published),
                    "runner_up": part(i, other),
                }
                for i, name in enumerate(FEATURES)
            ],
            "margin": self._margin(scores, distances[published], distances[other]),
        }

    def _margin(self, scores: Scores, own: float, other: float) -> Json:
        held = (
            "margin" if scores.held_by_margin[0] else "dwell" if scores.held_by_dwell[0] else None
        )
        ends_us = int(self.record["since"]) + self.switching.min_dwell_us
        dwells = self.published != NONE and ends_us > self.clock_us
        return {
            "nearer_by": round(float(1 - other / own), 4) if own > 0 else None,
            "needed": self.switching.margin,
            "held_by": held,
            "dwells_until": _time(ends_us) if dwells else None,
        }

    def _outlook(self, scores: Scores | None) -> Json | None:
        model = self.model
        if model is None or scores is None or self.published == NONE:
            return None
        margin = self.switching.margin
        published = int(np.argsort(model.segment_of_cluster)[self.published])
        counted = scores.counted[0]
        bought = baskets(scores, published, model, margin) if counted else None
        features = shifts(scores, published, model, margin) if counted else []
        due = int(scores.segment[0])
        moments = by_time(
            self.found.record, self.clock_us, model, self.found.layout, self.switching
        )
        return {
            "when_next_scored": self.refs[due],
            "moves_when_next_scored": due != self.published,
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
                    "at": _time(each.time_us),
                    "purchases": each.purchases,
                    "spend": each.cents / 100,
                    "segment": self.refs[each.segment],
                }
                for each in moments
            ],
        }


def _history(history: History) -> Json:
    return {
        "changes": [change.model_dump(mode="json") for change in history.changes],
        "searched": history.searched,
        "whole": history.whole,
    }


def _time(time_us: int) -> str:
    return rfc3339([time_us])[0]


def _known(value: float | NDArray[np.float64], digits: int) -> float | None:
    return None if np.isnan(value) else round(float(value), digits)
