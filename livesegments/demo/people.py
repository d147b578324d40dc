"""People made in the words of the personas, with purchases, age, income and location.

The groups differ as the descriptions say; within a group people differ too, so some are nearer to
another group than to their own.
"""

import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from livesegments.config.clients import open_store
from livesegments.config.settings import Settings
from livesegments.demo import GROUPS_FILE, PROFILES_FILE, PURCHASES_FILE
from livesegments.features.window import window
from livesegments.model import batch_kmeans
from livesegments.model.naming import match
from livesegments.operations.customer_scan import scan
from livesegments.operations.model_loader import deployment_of, rules_of

PEOPLE = 2_500
FIRST_DAY, DAYS = pd.Timestamp("2017-01-01T00:00:00Z"), 365
STARTS = 20
_OTHERS_SHARE = 0.05
"""Share of a group that lives elsewhere than the group does."""


@dataclass(frozen=True, slots=True)
class Group:
    """A group of people: means, and where they live.

    Attributes
    ----------
    purchases
        In 90 days.
    basket
        Currency units a purchase.
    age, age_spread
        Years, and their standard deviation.
    income
        Currency units a year.
    """

    purchases: float
    basket: float
    age: float
    age_spread: float
    income: float
    location: str


GROUPS = {
    "young-professionals": Group(14.0, 40.0, 30.0, 4.0, 85_000.0, "urban"),
    "families": Group(8.0, 50.0, 46.0, 5.0, 50_000.0, "suburban"),
    "retirees": Group(3.5, 25.0, 71.0, 5.0, 22_000.0, "rural"),
    "students": Group(14.0, 14.0, 21.0, 2.0, 13_000.0, "urban"),
    "high-value-customers": Group(34.0, 90.0, 44.0, 8.0, 120_000.0, "urban"),
}
"""Segment id -> the group that its description speaks of."""


def made_people(
    people: int = PEOPLE, seed: int = 0
) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """Return a year of people's purchases, their profiles, and the group of each.

    The columns of the first two are the contract's field names, those of the third ``customer_id``
    and ``group``. Every group has a fifth of the people.
    """
    rng = np.random.default_rng(seed)
    groups = list(GROUPS.values())
    of = rng.permutation(np.arange(people) % len(groups))
    ids = np.array([f"p{number:05d}" for number in range(people)])

    def mean(name: str) -> NDArray[np.float64]:
        each: list[float] = [getattr(group, name) for group in groups]
        return np.take(np.array(each), of)

    homes = np.array([group.location for group in groups])[of]
    elsewhere = rng.random(people) < _OTHERS_SHARE
    profiles = pd.DataFrame(
        {
            "customer_id": ids,
            "updated_at": FIRST_DAY,
            "age": rng.normal(mean("age"), mean("age_spread")).clip(18, 95).round(),
            "income": (mean("income") * rng.lognormal(0, 0.2, people)).round(-2),
            "location": np.where(elsewhere, rng.choice(["urban", "suburban"], people), homes),
        }
    )
    own_pace = rng.gamma(16, 1 / 16, people)
    who = np.repeat(np.arange(people), rng.poisson(mean("purchases") * own_pace * DAYS / 90))
    basket = mean("basket")[who] * rng.lognormal(0, 0.15, people)[who]
    seconds = np.sort(rng.random(len(who))) * DAYS * 86_400
    order = rng.permutation(len(who))
    purchases = pd.DataFrame(
        {
            "event_id": [f"purchase-{number:07d}" for number in range(len(who))],
            "customer_id": ids[who[order]],
            "occurred_at": FIRST_DAY + pd.to_timedelta(seconds.round(), unit="s"),
            "kind": "purchase",
            "amount": (basket[order] * rng.lognormal(0, 0.4, len(who))).round(2),
            "currency": "USD",
        }
    )
    named = pd.DataFrame({"customer_id": ids, "group": np.array(list(GROUPS))[of]})
    return purchases, profiles, named


def naming(settings: Settings, groups: Path) -> str:
    """Return in a sentence how many people are in the segment of their group.

    Beside it the share of batch k-means on the same people now, the best of 20 starts, with its
    clusters named after the same positions.
    """
    group_of = pd.read_parquet(groups).set_index("customer_id")["group"].to_dict()
    store = open_store(settings)
    deployment = deployment_of(store)
    rules = rules_of(settings, deployment)
    segmentation, layout = rules.segmentation, rules.layout
    vectors, truth, published = [], list[str](), list[str]()
    for batch in scan(store, deployment):
        at = window(batch.records, layout.tile(batch.clock_us), layout)
        counts = at.purchases > 0
        vectors.append(segmentation.vectors(batch.records, at)[counts])
        truth += [group_of[name] for name, here in zip(batch.names, counts, strict=True) if here]
        published += [
            segmentation.segment_ids[segment] if segment >= 0 else ""
            for segment in batch.records["segment"][counts].tolist()
        ]
    best = batch_kmeans.fit(
        np.concatenate(vectors), len(segmentation.segments), seed=1, starts=STARTS
    )
    names = np.array(match(best.zscores(best.centroids), segmentation.segments))[best.clusters]
    ours, batch_share = (
        float(np.mean(np.array(each) == np.array(truth))) for each in (published, names)
    )
    return (
        f"{ours:.1%} of {len(truth):,} people are in the segment of their group;"
        f" batch k-means puts {batch_share:.1%} there."
    )


if __name__ == "__main__":
    names = PURCHASES_FILE, PROFILES_FILE, GROUPS_FILE
    for table, name in zip(made_people(), names, strict=True):
        table.to_parquet(Path(sys.argv[1]) / name, index=False)
