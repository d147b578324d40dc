"""The answer about a customer as plain values, as `livesegments customer --json` writes them."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Literal

import numpy as np

from livesegments.analysis.customer.explanation import Explanation, Json, instant, known
from livesegments.analysis.customer.history import History
from livesegments.analysis.customer.lookup import StoredCustomer
from livesegments.consumers.scoring import NONE, score
from livesegments.domain import Hysteresis, Model
from livesegments.features.record_codec import NEVER
from livesegments.features.window import window

Status = Literal["assigned", "unassigned", "erased", "suppressed"]
_LOCATIONS = {0.0: "rural", 0.5: "suburban", 1.0: "urban"}
_CONSENTS = {-1: None, 0: False, 1: True}


@dataclass(frozen=True, slots=True)
class Answer:
    """The answer; for erased and suppressed customers only that status.

    Attributes
    ----------
    because
        Reason for no segment: ``consent``, ``no_purchase``, ``no_model`` or ``not_scored``.
    as_of
        The clock of the customer's partition, at which the window ends.
    erased_before
        Events before this no longer count, by an erasure request.
    segment, since, version
        As last published.
    model
        The current generation, and that of the customer's last score.
    why
        Distances, and the contribution of each feature.
    outlook
        Changes that would move the customer.
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


def nothing_kept(found: StoredCustomer) -> Answer | None:
    """Return the answer for a suppressed or erased customer, None for any other."""
    if found.marker.suppressed or found.record["suppressed"][0]:
        return Answer(found.customer_id, "suppressed")
    return Answer(found.customer_id, "erased") if found.is_empty else None


def answer(
    found: StoredCustomer,
    model: Model | None,
    switching: Hysteresis,
    names: Mapping[str, str],
    clock_us: int,
    history: History | None,
) -> Answer:
    """Return the answer for a customer with a record.

    Parameters
    ----------
    found
        The customer as stored.
    model, switching
        Of the decisions; no model during the warm-up.
    names
        Segment id -> name.
    clock_us
        Clock of the customer's partition.
    history
        None when not requested.
    """
    return _AnswerBuilder(found, model, switching, names, clock_us).answer(history)


class _AnswerBuilder:
    def __init__(
        self,
        found: StoredCustomer,
        model: Model | None,
        switching: Hysteresis,
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
        explanation = self._reasons(self.model) if self.model else None
        because = None if self.published != NONE else self._because()
        return Answer(
            customer_id=found.customer_id,
            status="unassigned" if self.published == NONE else "assigned",
            because=because,
            partition=found.partition,
            as_of=instant(self.clock_us),
            erased_before=instant(found.marker.cutoff_us) if found.marker.cutoff_us else None,
            segment=self.refs[self.published],
            since=instant(int(record["since"])) if self.published != NONE else None,
            version=int(record["version"]) or None,
            window=self._window(),
            profile=self._profile(),
            consent={
                "marketing": _CONSENTS[int(record["marketing"])],
                "profiling": _CONSENTS[int(record["profiling"])],
            },
            model=self._model(),
            why=explanation.why() if explanation and explanation.counted else None,
            outlook=explanation.outlook() if explanation and self.published != NONE else None,
            history=None if history is None else _history(history),
        )

    def _reasons(self, model: Model) -> Explanation:
        scores = score(
            self.found.record,
            np.array([self.found.layout.tile(self.clock_us)]),
            np.array([self.clock_us]),
            model.kmeans,
            model.segment_of_cluster,
            self.switching,
        )
        return Explanation(
            self.found.record,
            scores,
            model,
            self.switching,
            self.found.layout,
            self.clock_us,
            self.refs,
        )

    def _because(self) -> str:
        if self.record["profiling"] == 0:
            return "consent"
        if not self._window()["purchases"]:
            return "no_purchase"
        return "no_model" if self.model is None else "not_scored"

    def _profile(self) -> Json:
        record = self.record
        updated = int(record["profile_updated"])
        return {
            "age": known(record["age"], 2),
            "income": known(record["income"], 2),
            "location": _LOCATIONS.get(float(record["urbanicity"])),
            "updated_at": None if updated == NEVER else instant(updated),
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
                "from": instant(layout.end(tile - 1)),
                "until": instant(layout.end(tile)),
                "leaves": instant(layout.end(tile + slots - 1)),
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


def _history(history: History) -> Json:
    return {
        "changes": [change.model_dump(mode="json") for change in history.changes],
        "searched": history.searched,
        "whole": history.whole,
    }
