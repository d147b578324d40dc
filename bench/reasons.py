"""First reasons of segment changes on a year of Complete Journey, by what triggered the change.

Also checks every explanation: a feature that it names must have changed since the customer's last
change, and time alone never names one of the profile. The vectors are those that the model has
counted; the places that explanations start from are not used.
"""

from collections import Counter
from collections.abc import Sequence

import numpy as np

from bench.history import History, journey
from bench.report import Table
from bench.streams import Events
from livesegments.analysis.backtest.simulator import Step
from livesegments.consumers.decoding import MicroBatch
from livesegments.contracts.segments import SegmentChange
from livesegments.features.feature_specs import BY_NAME
from livesegments.features.record_codec import decode
from livesegments.model.vectors import dequantize

BATCH = 250
ASSIGNED = "assigned"
OTHERS = ("the model", "an earlier profile", "none")


class Explained(History):
    """A history that counts the first reason of each change.

    Attributes
    ----------
    first
        Number of changes by trigger and first reason.
    averages
        The same for the feature that is farthest from the average of all customers.
    wrong, named
        Features named that did not change or cannot by time, and all features named.
    """

    def __init__(self, warmup: int = 500) -> None:
        super().__init__(warmup)
        self.first: Counter[tuple[str, str]] = Counter()
        self.averages: Counter[tuple[str, str]] = Counter()
        self.wrong = self.named = 0
        self._vectors: dict[str, Sequence[int]] = {}

    def _process_batch(self, batch: MicroBatch) -> Step:
        step = super()._process_batch(batch)
        for output in step.changes:
            self._note(SegmentChange.model_validate_json(output.value or b""))
        return step

    def _note(self, change: SegmentChange) -> None:
        before = self._vectors.pop(change.customer_id, None)
        if change.segment is None:
            return
        features = self.config.segmentation.feature_names
        [record] = decode([self.records[change.customer_id]], self.config.record_shape)
        vector = self._vectors[change.customer_id] = record["vector"].tolist()
        trigger = ASSIGNED if change.previous_segment is None else change.origin
        self.first[trigger, first_reason(change)] += 1
        for each in change.explanation:
            place = features.index(each.feature)
            stays = before is not None and before[place] == vector[place]
            by_time = change.origin == "expiry" and BY_NAME[each.feature].is_profile
            self.named, self.wrong = self.named + 1, self.wrong + (stays or by_time)
        model = self.model.model({0: self.state})
        if model is not None:
            z = np.abs(model.snapshot.zscores(dequantize(record["vector"])))
            self.averages[trigger, features[int(np.nanargmax(z))]] += 1


def first_reason(change: SegmentChange) -> str:
    """Return the part that speaks most for a change."""
    others = change.other_contributions
    parts: dict[str, float] = {
        each.feature: each.contribution or 0.0 for each in change.explanation
    }
    if others is not None:
        parts |= {OTHERS[0]: others.model or 0.0, OTHERS[1]: others.profile}
    first = max(parts, key=lambda name: parts[name])
    return first if parts[first] > 0 else OTHERS[-1]


def run(events: Events | None = None, batch: int = BATCH, warmup: int = 500) -> Table:
    """Replay the year once."""
    stream = journey() if events is None else events
    history = Explained(warmup)
    for start in range(0, len(stream), batch):
        history.take(stream[start : start + batch])
    triggers = [ASSIGNED, *sorted({trigger for trigger, _ in history.first} - {ASSIGNED})]
    table = Table(
        "Reasons: the first reason of each change of a year of Complete Journey",
        ("", *triggers),
    )
    for name in (*history.config.segmentation.feature_names, *OTHERS):
        table.add(name, *(f"{history.first[trigger, name]:,}" for trigger in triggers))
    by_time = {name: n for (trigger, name), n in history.averages.items() if trigger == "expiry"}
    named_before = sum(n for name, n in by_time.items() if BY_NAME[name].is_profile)
    table.note(
        f"farthest from the average of all, a feature of the profile would be named in"
        f" {named_before:,} of the {sum(by_time.values()):,} changes by time"
    )
    table.note(f"{history.named:,} features named in all")
    table.goal("0 of them did not change, or cannot by time", history.wrong == 0)
    return table
